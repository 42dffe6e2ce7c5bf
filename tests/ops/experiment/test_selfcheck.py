import numpy as np
import pytest

from models import srm
from models.comparison import measured
from models.sequential import ALPHA
from ops.experiment.selfcheck import (
    BROKEN,
    CORRELATION,
    CTR,
    LOOKS,
    MARGIN,
    arms,
    cuped,
    designed,
    peeked,
    ratios,
    selfcheck,
    stopped,
    wrong,
)


@pytest.fixture
def draw():
    return np.random.default_rng(1)


def test_who_looks_daily_at_equal_arms_is_seldom_wrong(draw):
    found = peeked(draw, 400, 600, 0.0)

    assert found.found <= ALPHA
    assert found.found_peeking > 2 * ALPHA
    assert 0.02 < found.found_once < 0.09
    assert found.always_cover >= 1 - ALPHA


def test_an_effect_is_found_at_the_size_that_was_asked_for(draw):
    found = peeked(draw, 200, designed(draw), 0.15)

    assert found.found > 0.75
    assert found.once_covers > 0.9


def test_a_guardrail_bears_its_margin_and_stops_an_arm_that_is_broken(draw):
    assert stopped(draw, 200, -MARGIN) <= ALPHA
    assert stopped(draw, 50, BROKEN) > 0.9


def test_a_mismatch_is_found_where_there_is_one(draw):
    alarms, found = ratios(draw, 200)

    assert alarms <= srm.ALPHA
    assert found > 0.4


def test_what_was_known_before_takes_its_part_of_the_variance(draw):
    assert cuped(draw, 1_000) == pytest.approx(1 - CORRELATION**2, rel=0.2)


def test_a_drawn_arm_lifts_its_metric_by_the_effect(draw):
    control, other = arms(draw, 1, 40_000, 0.5)
    control_value, value = measured(control, other, CTR).plain[0, -1]

    assert control.gram.shape == (1, LOOKS, 4, 4)
    assert control.gram[0, :, 0, 0].tolist() == sorted(control.gram[0, :, 0, 0])
    assert value / control_value == pytest.approx(1.5, rel=0.05)


def test_figures_out_of_bounds_are_named():
    figures = selfcheck(runs=20) | {"srm_false_alarm_rate": 0.2}

    assert "srm_false_alarm_rate=0.2 is not within 0 and 0.001" in wrong(figures)
