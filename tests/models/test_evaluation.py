"""Metrics, by hand and by laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation import (
    HEAD,
    MISS,
    Judged,
    coverage,
    gini,
    hit_rate,
    mrr,
    ndcg,
    over_time,
    rank_of,
    slices,
    surprise,
)

NONE = np.array([], np.int64)
some_ranks = st.lists(st.integers(1, 30) | st.just(MISS), min_size=1).map(
    lambda ranks: np.array(ranks, np.int32)
)
some_scores = st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=30)


def judged(**said):
    fields = {"rank": 1, "popular": 1, "earlier": 1, "chosen": 1, "candidates": 10, "at": 0}
    size = max(len(values) for values in said.values())
    return Judged(
        **{name: np.array(said.get(name, [usual] * size), np.int32) for name, usual in fields.items()}
    )


def test_ties_count_against_the_target():
    assert rank_of(np.float32([1, 1, 1, 0]), 1, NONE) == 3


def test_ones_own_items_are_not_in_the_way():
    assert rank_of(np.float32([5, 4, 3, 3]), 2, np.array([0, 3])) == 2


def test_a_score_that_is_no_number_counts_against_the_target():
    assert rank_of(np.float32([np.nan, 2, 1]), 1, NONE) == 2
    assert rank_of(np.float32([np.nan, 2, 1]), 0, NONE) == MISS


@given(some_scores, st.data())
def test_a_rank_is_the_place_in_the_sorted_list_last_among_equals(scores, data):
    target = data.draw(st.integers(0, len(scores) - 1))
    own = data.draw(st.sets(st.integers(0, len(scores) - 1).filter(lambda slot: slot != target)))
    left = sorted((score for slot, score in enumerate(scores) if slot not in own), reverse=True)

    rank = rank_of(np.float32(scores), target, np.array(sorted(own), np.int64))

    assert rank == len(left) - left[::-1].index(scores[target])


def test_metrics_by_hand():
    ranks = np.int32([1, 2, 3, 11, MISS])
    assert hit_rate(ranks, 10) == 3 / 5
    assert ndcg(ranks, 10) == pytest.approx((1 + 1 / math.log2(3) + 1 / 2) / 5)
    assert mrr(ranks, 10) == pytest.approx((1 + 1 / 2 + 1 / 3) / 5)
    assert hit_rate(ranks, 20) == 4 / 5


@given(some_ranks, st.integers(1, 20))
def test_a_longer_list_finds_no_less_and_each_metric_stays_within_the_hit_rate(ranks, k):
    for metric in (hit_rate, ndcg, mrr):
        assert metric(ranks, k) <= metric(ranks, k + 1)
        assert 0 <= metric(ranks, k) <= hit_rate(ranks, k) <= 1
    assert mrr(ranks, k) <= ndcg(ranks, k)


def test_nothing_predicted_is_nothing_found():
    assert hit_rate(np.int32([]), 10) == ndcg(np.int32([]), 10) == mrr(np.int32([]), 10) == 0


def test_gini_is_that_of_the_differences():
    shown = np.array([1, 3, 5, 11])
    differences = np.abs(shown[:, None] - shown).sum()
    assert gini(shown) == pytest.approx(differences / (2 * len(shown) * shown.sum()))
    assert gini(shown[::-1]) == gini(shown)
    assert gini(np.zeros(3, np.int64)) == 0


def test_coverage_counts_items_shown_at_all():
    assert coverage(np.array([3, 0, 0, 1, 0])) == 2 / 5


def test_the_rarer_the_more_surprising():
    assert surprise(np.array([0, 1, 2, 8]), 8).tolist() == [3, 3, 2, 0]


def test_slices_by_how_much_is_known_of_user_and_item():
    found = slices(
        judged(
            earlier=[0, 1, 3, 10, 40],
            chosen=[50, 9, 10, 0, 30],
            popular=[1, 1, 2, MISS, 3],
            candidates=[10] * 5,
        )
    )
    where = {name: np.flatnonzero(mask).tolist() for name, mask in found.items()}
    assert HEAD == 0.2
    assert where == {
        "after_0": [0],
        "after_1": [1],
        "after_2": [],
        "after_3": [2],
        "after_5": [],
        "warm": [3, 4],
        "new_items": [1, 3],
        "head": [1, 2],
        "tail": [3, 4],
    }


@given(st.lists(st.booleans(), min_size=1), st.integers(1, 20))
def test_spans_over_time_hold_every_prediction_once(hits, spans):
    hits = np.array(hits)
    line = over_time(hits, spans)
    assert len(line) == min(spans, len(hits))
    sizes = [len(part) for part in np.array_split(hits, len(line))]
    assert float(line @ sizes) == pytest.approx(hits.sum())
