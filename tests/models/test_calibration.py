import numpy as np
import pytest

from models import calibration
from streams.errors import Refused


@pytest.fixture
def drawn():
    draw = np.random.default_rng(1)
    scores = draw.normal(3.0, 5.0, 20_000)
    return scores, draw.random(20_000) < 1.0 / (1.0 + np.exp(-(0.5 * scores - 4.0)))


def test_the_curve_that_drew_the_labels_is_found(drawn):
    fitted = calibration.platt(*drawn)

    assert fitted.slope == pytest.approx(0.5, rel=0.1)
    assert fitted.bias == pytest.approx(-4.0, rel=0.1)


def test_it_keeps_the_order_and_mends_the_error(drawn):
    scores, labels = drawn
    chances = calibration.platt(scores, labels).chance(scores)

    assert (np.argsort(chances, kind="stable") == np.argsort(scores, kind="stable")).all()
    assert calibration.error(chances, labels) < 0.08
    assert calibration.error(np.full_like(chances, 0.5), labels) > 0.5


def test_scores_that_part_the_classes_have_a_finite_curve():
    fitted = calibration.platt(np.arange(10.0), np.arange(10) >= 5)

    assert np.isfinite([fitted.slope, fitted.bias]).all()


@pytest.mark.parametrize("labels", [np.zeros(5, bool), np.ones(5, bool)])
def test_one_class_is_refused(labels):
    with pytest.raises(Refused, match="both chosen and not chosen"):
        calibration.platt(np.arange(5.0), labels)


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(Refused, match="not finite"):
        calibration.platt(np.array([0.0, np.nan]), np.array([True, False]))


def test_a_score_that_falls_with_the_choices_is_refused():
    with pytest.raises(Refused, match="fall as scores rise"):
        calibration.platt(np.arange(100.0), np.arange(100) < 50)


def test_an_error_without_a_choice_cannot_be_measured():
    with pytest.raises(Refused, match="none was chosen"):
        calibration.error(np.full(4, 0.5), np.zeros(4, bool))
