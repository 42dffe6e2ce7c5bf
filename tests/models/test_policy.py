"""Estimates of a policy from another one's log: right on average, with intervals that hold, exact where known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models import policy
from streams.errors import Refused

ACTIONS, PLACES = 5, 3
WORTH = np.array([0.05, 0.1, 0.2, 0.3, 0.6])
LOGGING = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
JUDGED = np.array([0.05, 0.1, 0.15, 0.3, 0.4])
WEIGHTS = arrays(np.float64, (6, 2), elements=st.floats(0, 20))
REWARDS = arrays(np.float64, (6, 2), elements=st.floats(0, 1))


def logged(draw, n, places=1):
    """Return actions and rewards of lists whose places are drawn by LOGGING, lower places being clicked less."""
    shown = draw.choice(ACTIONS, (n, places), p=LOGGING)
    rewards = draw.random(shown.shape) < WORTH[shown] / (1 + np.arange(places))
    return shown, rewards.astype(np.float64)


def estimates(draw, n, places=1):
    shown, rewards = logged(draw, n, places)
    each = policy.weights(JUDGED[shown], LOGGING[shown])
    guess = np.linspace(0.1, 0.5, ACTIONS)  # wrong
    model = policy.Model(guess[shown], np.full(shown.shape, guess @ JUDGED))
    return policy.ips(rewards, each), policy.snips(rewards, each), policy.doubly_robust(rewards, each, model)


def truth(places=1):
    return float(WORTH @ JUDGED) * sum(1 / (1 + place) for place in range(places))


@pytest.mark.parametrize("places", [1, PLACES])
def test_every_estimate_is_right_on_average_and_its_interval_holds(places):
    draw = np.random.default_rng(1)
    found = [estimates(draw, 400, places) for _ in range(600)]
    for each in zip(*found, strict=True):
        assert np.mean([one.value for one in each]) == pytest.approx(truth(places), rel=0.02)
        bounds = np.array([policy.interval(one.each) for one in each])
        held = (bounds[:, 0] <= truth(places)) & (truth(places) <= bounds[:, 1])
        assert 0.92 <= held.mean() <= 0.98


def test_whole_lists_are_judged_right_where_places_depend_on_each_other():
    """Only the item-position model errs where a click above ends the list; the product of weights does not."""
    draw = np.random.default_rng(2)
    shown = draw.choice(ACTIONS, (60_000, 2), p=LOGGING)
    rewards = (draw.random(shown.shape) < WORTH[shown]).astype(np.float64)
    rewards[:, 1] *= 1 - rewards[:, 0]
    each = policy.weights(JUDGED[shown], LOGGING[shown])
    value = float(WORTH @ JUDGED)
    product = policy.ips(rewards.sum(axis=1, keepdims=True), policy.listwise(each))
    low, high = policy.interval(product.each, confidence=0.999)
    assert low <= value + (1 - value) * value <= high
    places = policy.ips(rewards, each)
    assert policy.interval(places.each)[0] > value + (1 - value) * value


@given(REWARDS)
def test_the_logging_policy_is_judged_by_its_own_mean(rewards):
    each, model = np.ones(rewards.shape), policy.Model(np.zeros(rewards.shape), np.zeros(rewards.shape))
    mean = rewards.sum(axis=1).mean()
    for found in (
        policy.ips(rewards, each),
        policy.snips(rewards, each),
        policy.doubly_robust(rewards, each, model),
    ):
        assert found.value == pytest.approx(mean)
        assert found.each.mean() == pytest.approx(mean)
    assert policy.effective(each).tolist() == [len(rewards)] * 2


@given(REWARDS, WEIGHTS)
def test_what_lists_say_has_the_value_as_its_mean(rewards, each):
    each = each + 0.01
    model = policy.Model(rewards / 2, rewards / 3)
    for found in (
        policy.ips(rewards, each),
        policy.snips(rewards, each),
        policy.doubly_robust(rewards, each, model),
    ):
        assert found.each.mean() == pytest.approx(found.value)


@given(REWARDS, WEIGHTS, st.floats(0.01, 30))
def test_clipping_only_lowers_and_never_loses_samples(rewards, each, most):
    cut = policy.clipped(each, most)
    assert cut.max() <= most
    assert policy.ips(rewards, cut).value <= policy.ips(rewards, each).value + 1e-12
    assert (policy.effective(cut) >= policy.effective(each) - 1e-9).all()
    assert (policy.effective(each) <= len(each) + 1e-9).all()


@given(REWARDS, WEIGHTS, st.floats(0.1, 10))
def test_self_normalised_values_stay_among_the_rewards_and_follow_their_shift(rewards, each, shift):
    each = each + 0.01
    value = policy.snips(rewards, each).value
    assert rewards.min(axis=0).sum() - 1e-9 <= value <= rewards.max(axis=0).sum() + 1e-9
    assert policy.snips(rewards + shift, each).value == pytest.approx(value + 2 * shift)


def test_lists_of_one_user_count_as_what_they_are_together():
    draw = np.random.default_rng(3)
    values = np.repeat(draw.normal(size=50), 20)
    users = np.repeat(np.arange(50), 20)
    width = np.diff(policy.interval(values, users))[0]
    assert width == pytest.approx(np.diff(policy.interval(values[::20]))[0], rel=1e-6)
    assert width > 4 * np.diff(policy.interval(values))[0]
    gaps = policy.interval(values, users * 3)  # numbers of units that are missing change nothing
    assert gaps == pytest.approx(policy.interval(values, users))


def test_nothing_in_common_is_no_value_and_no_sample():
    none = np.zeros((4, 1))
    assert np.isnan(policy.snips(np.ones((4, 1)), none).value)
    assert policy.effective(none).tolist() == [0.0]
    assert policy.ips(np.ones((4, 1)), none).value == 0.0
    assert np.isnan(policy.interval(np.ones(1))).all()


def test_what_was_shown_without_a_chance_is_refused():
    with pytest.raises(Refused, match=r"logged propensity 0\.0 of an action that was shown"):
        policy.weights(np.ones(2), np.array([0.5, 0.0]))
