"""Taught: a made-up state is one that the learner can go on with, and that survives as rows."""

import numpy as np
import pytest

from bench.taught import CHOICES, ranked, taught
from models.learned import PAGE, USED, Learned
from models.learner import Learner
from models.stack import neighbours, relevance, signals
from streams.examples import Choice

ITEMS = 200


@pytest.fixture
def learned():
    return taught(ranked(ITEMS), 16)


def test_every_item_was_chosen_and_has_neighbours_all_different(learned):
    assert len(learned) == ITEMS
    assert (np.diff(learned.chosen[ranked(ITEMS)]) <= 0).all()
    assert CHOICES / 2 < learned.chosen.mean() < 2 * CHOICES
    for slot in range(ITEMS):
        used = int(learned.arrays.numbers[slot, USED])
        others = learned.arrays.others[learned.arrays.pages[slot, : used // PAGE]].ravel()
        assert len(set(others.tolist())) == used >= PAGE
        assert ((others >= 0) & (others < ITEMS)).all()


def test_its_rows_are_those_of_a_learner(learned):
    copy = Learned(16)
    for slot, key in enumerate(learned.keys):
        copy.put(key, learned.row(slot))
    assert [copy.row(slot) for slot in range(ITEMS)] == [learned.row(slot) for slot in range(ITEMS)]


def test_learning_goes_on_from_it(learned):
    order = ranked(ITEMS)
    keys = [learned.keys[slot] for slot in order]
    learner = Learner(learned)
    for n in range(300):
        after = tuple(keys[(n * 7 + k) % ITEMS] for k in range(1, 6))
        learner.learn(Choice(n, keys[n * 7 % ITEMS], after, 0, 1.0))
    after = order[:5].astype(np.int32)
    scores = relevance(learned, signals(learned, after, order.astype(np.int32)), 5)
    assert np.isfinite(scores).all()
    assert len(neighbours(learned, after, 20)[0]) == 20
