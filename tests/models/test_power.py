import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.inference import ENOUGH
from models.power import Size, size
from streams.errors import Refused

lifts = st.floats(0.01, 1.0)


@given(lifts)
def test_a_smaller_lift_a_wider_spread_and_more_power_need_more_units(lift):
    least = size(0.2, 0.16, lift)

    for more in (size(0.2, 0.16, lift / 2), size(0.2, 0.32, lift), size(0.2, 0.16, lift, power=0.95)):
        assert more.units >= least.units
        assert more.once >= least.once
    assert least.units >= least.once >= 2 * ENOUGH


def test_looking_once_needs_what_the_textbook_says():
    assert size(0.2, 0.16, -1e-3).once == pytest.approx(16 * 0.16 / 0.0002**2 * 2 * 0.98, rel=0.02)


def test_more_arms_and_uneven_ones_need_more_units():
    even = size(0.2, 0.16, 0.1)

    assert size(0.2, 0.16, 0.1, (1, 1, 1)).units > 1.5 * even.units
    assert size(0.2, 0.16, 0.1, (9, 1)).units > even.units


def test_a_large_lift_still_needs_enough_units_in_the_smaller_arm():
    assert size(0.2, 1e-9, 1.0, (3, 1)) == Size(4 * ENOUGH, 4 * ENOUGH)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((0.0, 1.0, 0.1), "above 0, not 0"),
        ((float("nan"), 1.0, 0.1), "above 0, not nan"),
        ((0.2, 0.0, 0.1), "variance=0"),
        ((0.2, float("inf"), 0.1), "variance=inf"),
        ((0.2, 0.16, 0.0), "lift=0"),
        ((0.2, 0.16, -2.0), "lift=-2"),
        ((0.2, 0.16, 0.1, (1,)), "two arms"),
        ((0.2, 0.16, 0.1, (1, 0)), "above 0"),
        ((0.2, 0.16, 1e-9), "so small a lift"),
    ],
)
def test_what_no_size_could_find_is_refused(arguments, reason):
    with pytest.raises(Refused, match=reason):
        size(*arguments)


def test_an_impossible_power_is_refused():
    with pytest.raises(Refused, match="power=1 "):
        size(0.2, 0.16, 0.1, power=1.0)
