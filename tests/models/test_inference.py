import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from models import inference
from models.inference import compare, difference, lift, mean, score, select
from models.outcomes import Sheet
from streams.errors import Refused
from tests.models.sheets import drawn, sheet


@pytest.fixture
def columns():
    draw = np.random.default_rng(3)
    shown = 1 + draw.poisson(3, 500)
    return {"lists": shown, "click": draw.binomial(shown, 0.3), "pre.click": draw.poisson(2, 500)}


def pair(control, other, *names, covariates=()):
    return compare(*(select(one, *names, covariates=covariates) for one in (control, other)))


def test_a_mean_and_its_variance_are_those_of_the_units(columns):
    value, variance = mean(select(sheet(**columns), "click"))

    assert value == pytest.approx(columns["click"].mean())
    assert variance == pytest.approx(columns["click"].var(ddof=1))


def test_a_ratio_varies_as_its_linearised_units_do(columns):
    of, per = columns["click"], columns["lists"]
    value, variance = mean(select(sheet(**columns), "click", "lists"))
    linear = (of - of.sum() / per.sum() * per) / per.mean()

    assert value == pytest.approx(of.sum() / per.sum())
    assert variance == pytest.approx(linear.var(ddof=1))


def test_a_difference_is_adjusted_as_a_regression_on_what_was_before_says(columns):
    draw = np.random.default_rng(4)
    other = {"lists": columns["lists"], "click": draw.poisson(2, 500), "pre.click": draw.poisson(2, 500)}
    found = pair(sheet(**columns), sheet(**other), "click", covariates=("pre.click",))
    both = (columns, other)
    shared = sum(np.cov(one["click"], one["pre.click"])[0, 1] for one in both)
    slope = shared / sum(one["pre.click"].var(ddof=1) for one in both)
    residuals = [one["click"] - slope * one["pre.click"] for one in both]

    assert difference(found, 0.0)[0] == pytest.approx(residuals[1].mean() - residuals[0].mean())
    assert inference.contrast_variance(found.covariance) == pytest.approx(
        sum(one.var(ddof=1) / 500 for one in residuals)
    )
    assert found.plain.tolist() == pytest.approx([one["click"].mean() for one in both])


def test_covariates_that_are_constant_or_alike_change_nothing():
    draw = np.random.default_rng(5)
    one, two = ({"click": draw.poisson(2, 300), "pre.a": draw.poisson(1, 300)} for _ in range(2))
    single = pair(sheet(**one), sheet(**two), "click", covariates=("pre.a",))
    for columns in (one, two):
        columns |= {"pre.b": columns["pre.a"], "pre.c": np.full(300, 7.0)}
    several = pair(sheet(**one), sheet(**two), "click", covariates=("pre.a", "pre.b", "pre.c"))

    assert_allclose(several.value, single.value)
    assert_allclose(several.covariance, single.covariance)


def test_covariates_are_left_out_while_there_are_few_units():
    draw = np.random.default_rng(6)
    found = pair(drawn(draw, 49), drawn(draw, 400), "click", covariates=("pre.click",))

    assert found.kept == 1
    assert found.value.tolist() == found.plain.tolist()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 4.0))
def test_a_lift_leaves_out_zero_where_the_difference_does(seed, errors):
    draw = np.random.default_rng(seed)
    found = pair(drawn(draw, 300), drawn(draw, 300, rate=0.23), "click", "lists", covariates=("pre.click",))
    low, high = difference(found, errors)[1:]
    least, most = lift(found, errors)[1:]

    assert (least > 0, most < 0) == (low > 0, high < 0)
    assert least <= lift(found, errors)[0] <= most


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 3.0))
def test_the_ends_of_a_lift_are_the_ratios_just_within_reach(seed, errors):
    draw = np.random.default_rng(seed)
    found = pair(drawn(draw, 300), drawn(draw, 200), "click", "lists", covariates=("pre.click",))
    for end in lift(found, errors)[1:]:
        assert abs(score(found, 1 + float(end))) == pytest.approx(errors, rel=1e-6)


def test_a_stack_of_sheets_gives_what_each_gives_alone():
    draw = np.random.default_rng(7)
    control, other = ([drawn(draw, 200) for _ in range(3)] for _ in range(2))
    stacked = [Sheet(one[0].names, np.stack([each.gram for each in one])) for one in (control, other)]
    found = pair(*stacked, "click", "lists", covariates=("pre.click",))
    for n in range(3):
        alone = pair(control[n], other[n], "click", "lists", covariates=("pre.click",))
        for whole, part in zip(found, alone, strict=True):
            assert_allclose(whole[n], part)


def test_the_interval_of_a_ratio_holds_the_truth_as_often_as_it_says():
    draw = np.random.default_rng(8)
    held = []
    for _ in range(400):
        columns = {"shown": 1 + draw.poisson(5, 200)}
        keen = draw.gamma(2.0, 0.5, 200)
        columns["value"] = draw.poisson(keen * columns["shown"])
        value, variance = mean(select(sheet(**columns), "value", "shown"))
        held.append(abs(value - 1.0) < 1.96 * (variance / 200) ** 0.5)

    assert 0.92 <= np.mean(held) <= 0.98


def test_no_units_and_nothing_to_divide_by_give_no_score():
    empty, nothing = Sheet.empty(("click", "lists")), sheet(click=[1] * 200, lists=[0] * 200)
    for control in (empty, nothing):
        found = pair(control, nothing, "click", "lists")
        assert score(found) == 0
        assert np.isnan(difference(found, 1.96)).all()


def test_equal_numbers_do_not_vary():
    found = pair(sheet(click=[0.1] * 300), sheet(click=[0.1] * 200), "click")

    assert inference.contrast_variance(found.covariance) == 0
    assert score(found) == 0


def test_a_measure_that_is_not_there_is_refused():
    with pytest.raises(Refused, match=r"'wink' is not measured.*lists, click"):
        select(Sheet.empty(("lists", "click")), "wink")


def test_rare_acts_are_not_enough():
    rare = sheet(click=[1] * 9 + [0] * 991)

    assert not pair(rare, rare, "click").enough
    assert pair(rare, sheet(click=[1] * 11 + [0] * 989), "click").enough
    assert not pair(sheet(click=[1] * 99), sheet(click=[1] * 500), "click").enough
