"""The weight of a blend is the one that ranks best; where nothing can be said, it is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation import ndcg
from ops.train.blends import WEIGHTS, expected, fit_blend
from ops.train.rows import Rows
from streams.errors import Refused

CHOICES, EACH = 150, 20


def rows(logit_of, seed=0, known=0.8):
    """Choices among candidates whose true score is relevance + 1.5 * logit."""
    draw = np.random.default_rng(seed)
    relevance = draw.normal(0, 1, (CHOICES, EACH))
    logits = logit_of(draw, relevance)
    chosen = (relevance + 1.5 * logits + draw.gumbel(size=(CHOICES, EACH)) * 0.2).argmax(axis=1)
    logits[draw.random((CHOICES, EACH)) > known] = np.nan
    n, numbers = CHOICES * EACH, np.zeros(CHOICES, np.int32)
    matrix = np.column_stack([relevance.ravel(), logits.ravel(), relevance.ravel()]).astype(np.float32)
    return Rows(
        matrix, np.arange(n, dtype=np.int32), np.zeros(n, np.float32), np.full(CHOICES, EACH, np.int32),
        chosen.astype(np.int32), numbers, numbers, numbers, numbers, numbers.astype(np.int64),
    )  # fmt: skip


def independent(draw, relevance):
    return draw.normal(0, 1, relevance.shape)


def test_the_weight_that_ranks_best_is_taken():
    valid = rows(independent)
    found = fit_blend(valid)

    def reached(weight):
        blend = type(found)(weight, found.level, found.rise)
        return ndcg(valid.judged(blend.sums(valid.matrix[:, 0], valid.matrix[:, 1])).rank, 10)

    assert found.weight in (1.0, 1.5, 2.0)
    assert reached(found.weight) == max(map(reached, WEIGHTS))


@given(st.floats(-5, 5), st.floats(0.125, 4), st.integers(0, 9))
def test_the_line_of_logits_over_scores_is_found(level, rise, seed):
    relevance = np.random.default_rng(seed).normal(0, 1, 50).astype(np.float32)
    assert expected(relevance, np.float32(level + rise * relevance)) == pytest.approx((level, rise), abs=1e-3)


def test_a_falling_line_is_none():
    assert expected(np.float32([0, 1]), np.float32([4, 2])) == (3.0, 0.0)
    assert expected(np.float32([1, 1]), np.float32([4, 2])) == (3.0, 0.0)


def test_what_nothing_can_be_said_of_is_refused():
    with pytest.raises(Refused, match="knows no candidate"):
        fit_blend(rows(independent, known=-1.0))
    few = rows(independent)
    few.chosen[90:] = -1
    with pytest.raises(Refused, match="holds 90 choices whose item was a candidate, 100 are needed"):
        fit_blend(few)
