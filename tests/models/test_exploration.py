"""Laws of exploring: logged chances are the true ones, what is pinned stays, and no category crowds the top."""

from collections import Counter
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.exploration import Candidates, drawn, explore, largest, limited, opened, posterior
from models.items import common_rate, ctr
from models.rerank import TOP, arrange
from models.surfaces import Explore
from tests.models.test_rerank import candidates, most_of_a_category

KINDS = ("epsilon", "thompson", "plackett-luce")


def plain(n=40, fresh=range(20, 32)):
    """Candidates without categories, in the order of their scores; some are fresh, a few of them clicked."""
    examined = np.zeros(n, np.float32)
    examined[:20] = 400.0
    answered = np.where(np.arange(n) % 4 == 0, 1.0, 0.0)
    return Candidates(
        np.linspace(1, 0, n, dtype=np.float32), np.full((n, 1), -1, np.int32),
        ctr(answered, examined).astype(np.float32), examined, np.array(fresh),
    )  # fmt: skip


@settings(deadline=None)
@given(
    made=candidates(),
    n=st.integers(1, 40),
    how=st.builds(
        Explore,
        kind=st.sampled_from(KINDS),
        slots=st.integers(0, 9),
        epsilon=st.floats(0.0, 1.0),
        temperature=st.floats(0.001, 10.0),
        budget=st.floats(0.0, 1.0),
    ),
    cap=st.integers(0, 3),
    pinned=st.sets(st.integers(0, 12), max_size=4),
    seed=st.text(),
)
def test_exploring_moves_nothing_pinned_and_keeps_the_list_distinct_and_varied(
    *, made, n, how, cap, pinned, seed
):
    scores, categories, rng = made
    order = arrange(scores, categories, n, cap=cap)
    among = Candidates(
        scores, categories, rng.random(len(scores)).astype(np.float32), 300 * rng.random(len(scores)),
        rng.permutation(len(scores))[:30],
    )  # fmt: skip

    slate = explore(order, among, how, seed=seed, cap=cap, fixed=pinned)

    assert len(set(slate.order.tolist())) == len(order)
    assert ((slate.propensity > 0) & (slate.propensity <= 1)).all()
    assert slate.explored.sum() <= how.slots
    open_places = opened(len(order), how.slots, pinned)
    closed = np.setdiff1d(np.arange(len(order)), open_places)
    assert {0, *pinned} & set(range(len(order))) <= set(closed.tolist())
    assert (slate.order[closed] == order[closed]).all()
    assert (slate.propensity[closed] == 1.0).all()
    top = min(TOP, len(order))
    assert most_of_a_category(categories, slate.order[:top]) <= max(
        cap or TOP, most_of_a_category(categories, order[:top])
    )


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [0.15, 1.0])
def test_lists_come_as_often_as_their_logged_chances_say(kind, slots, budget):
    among = plain(16, fresh=(10, 11, 12, 13, 14))
    how = Explore(kind=kind, slots=slots, epsilon=0.5, temperature=1.0, budget=budget)
    rounds, came, chance = 3000, Counter(), {}
    for n in range(rounds):
        slate = explore(np.arange(10), among, how, seed=f"r{n}")
        came[tuple(slate.order.tolist())] += 1
        chance[tuple(slate.order.tolist())] = prod(slate.propensity.tolist())

    common = [each for each in came if chance[each] * rounds >= 5]
    wrong = sum((came[each] - chance[each] * rounds) ** 2 / (chance[each] * rounds) for each in common)
    assert sum(chance.values()) <= 1.0 + 1e-9
    assert wrong < len(common) + 4.0 * np.sqrt(2.0 * len(common))  # of a chi-squared variable
    assert sum(came[each] for each in common) / rounds == pytest.approx(
        sum(chance[each] for each in common), abs=0.04
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_explores_over_time_than_the_budget_says(kind):
    how = Explore(kind=kind, slots=3, epsilon=1.0, temperature=3.0, budget=0.05)
    shares = [explore(np.arange(20), plain(), how, seed=f"b{n}").explored.mean() for n in range(1500)]
    assert np.mean(shares) == pytest.approx(0.05, abs=4 * np.std(shares) / np.sqrt(len(shares)))


@pytest.mark.parametrize("kind", ["epsilon", "thompson"])
def test_what_is_known_well_is_not_tried_any_more(kind):
    among, how = plain(fresh=range(10, 32)), Explore(kind=kind, slots=3, epsilon=1.0, budget=1.0, until=100.0)
    for n in range(50):
        slate = explore(np.arange(10), among, how, seed=f"k{n}")
        assert (slate.order[slate.explored] >= 20).all()


def test_who_was_never_looked_at_is_expected_to_be_like_all_others():
    examined, answered = np.float32([0.0, 500.0, 500.0]), np.float64([0.0, 100.0, 50.0])
    rates = ctr(answered, examined.astype(np.float64)).astype(np.float32)
    rate = common_rate(rates, examined)
    a, b = posterior(rates, examined, rate)
    assert rate == pytest.approx(0.15, abs=0.01)
    assert a[0] / (a[0] + b[0]) == pytest.approx(rate, abs=1e-3)
    assert a[1] / (a[1] + b[1]) == pytest.approx(0.2, abs=0.01)
    assert largest(a, b)[0] > 3 * largest(*posterior(rates, examined))[0]


def test_thompson_tries_what_may_be_good_more_often():
    among, how = plain(fresh=(20, 21)), Explore(kind="thompson", budget=1.0)
    came = Counter(int(explore(np.arange(10), among, how, seed=f"t{n}").order[9]) for n in range(500))
    assert came[20] > 2 * came[21] > 0  # the first was clicked once
    rate = common_rate(among.ctr, among.examined)
    chances = largest(*posterior(among.ctr[[9, 20, 21]], among.examined[[9, 20, 21]], rate))
    assert came[20] / 500 == pytest.approx(chances[1], abs=0.08)


def test_what_is_drawn_depends_on_the_seed_alone():
    how = Explore(kind="plackett-luce", slots=9, temperature=1.0, budget=1.0)
    lists = [explore(np.arange(10), plain(), how, seed=seed).order.tolist() for seed in ("s", "s", "t")]
    assert lists[0] == lists[1] != lists[2]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_explores_without_rivals_or_a_budget(kind):
    for among, how in (
        (plain(10, fresh=range(5, 10)), Explore(kind=kind, epsilon=1.0, budget=1.0)),
        (plain(), Explore(kind=kind, epsilon=1.0, budget=0.0)),
        (plain(), Explore(kind=kind, slots=0, epsilon=1.0)),
    ):
        slate = explore(np.arange(10), among, how, seed="s")
        assert slate.propensity.tolist() == [1.0] * 10
        assert not slate.explored.any()


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 1000.0), st.floats(0.1, 100_000.0)), min_size=1, max_size=20),
    st.floats(0.0, 1.0),
)
def test_chances_sum_to_one_whatever_is_known(beta, most):
    chances = largest(*np.array(beta).T)
    assert chances.sum() == pytest.approx(1.0)
    assert (chances >= 0.0).all()
    less = limited(chances, most)
    assert less.sum() == pytest.approx(1.0)
    assert less[1:].sum() <= most + 1e-12


def test_the_chance_to_be_the_largest_is_that_of_drawing_them_all():
    rng = np.random.default_rng(5)
    for _ in range(8):
        a = 0.4 + rng.poisson(4 * rng.random(12))
        b = 19.6 + 200 * rng.random(12)
        a[0], b[0] = (a[0], b[0]) if _ % 2 else (20_000.0, 400_000.0)
        found = rng.beta(a, b, (40_000, 12)).argmax(axis=1)
        np.testing.assert_allclose(largest(a, b), np.bincount(found, minlength=12) / 40_000, atol=0.012)


def test_a_posterior_has_the_mean_that_is_shown_and_never_less_doubt_than_the_prior():
    examined = np.float32([0.0, 10.0, 1000.0, 0.0])
    rates = ctr(np.array([0.0, 3.0, 20.0, 50.0]), examined).astype(np.float32)
    a, b = posterior(rates, examined)
    np.testing.assert_allclose((a / (a + b))[:3], rates[:3], rtol=1e-6)
    assert b.min() >= 19.6 - 1e-6
    assert a[3] == pytest.approx(50.4)


def test_a_chance_of_zero_is_never_drawn():
    chances = np.array([0.0, 0.5, 0.0, 0.5, 0.0])
    assert {drawn(chances, f"z{n}") for n in range(300)} == {1, 3}


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_that_was_drawn_has_the_same_chances_when_it_is_drawn_on_purpose(kind):
    among, how = plain(16, fresh=(10, 11, 12, 13, 14)), Explore(kind=kind, slots=3, epsilon=0.5, budget=1.0)
    for n in range(50):
        slate = explore(np.arange(10), among, how, seed=f"p{n}")

        def draw(_seed, place, at, chances, *, shown=slate.order):
            assert chances.sum() == pytest.approx(1.0)
            return at.tolist().index(shown[place])

        again = explore(np.arange(10), among, how, seed="", draw=draw)
        assert again.order.tolist() == slate.order.tolist()
        assert again.propensity.tolist() == slate.propensity.tolist()
