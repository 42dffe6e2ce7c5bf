"""Merged: shards that learned apart are one for readers."""

import numpy as np
import pytest

from models import stack
from models.learned import BIAS, CHOSEN, COMMON, MET, RECENT, USED, Learned
from models.learner import Learner
from models.merged import Merged
from models.signals import SIGNALS
from streams.examples import Choice

D = 8
ITEMS = [f"i{n}" for n in range(12)]


def learner(trails, seed=0, first=0):
    found, rng = Learner(Learned(D)), np.random.default_rng(seed)
    for k in range(trails):
        item, *after = (ITEMS[m] for m in rng.permutation(len(ITEMS))[:4])
        found.learn(Choice(first + k, item, tuple(after), k, 1.0))
    return found.learned


def merged(*parts):
    whole = Merged(parts)
    whole.take(COMMON)
    for key in ITEMS:
        whole.take(key)
    return whole.learned


def neighbours(learned, key):
    slot = learned.slot_of[key]
    used = int(learned.arrays.numbers[slot, USED])
    others = learned.arrays.others[learned.arrays.pages[slot]].reshape(-1)[:used]
    counts = learned.arrays.counts[learned.arrays.pages[slot]].reshape(-1, 3)[:used]
    return {learned.keys[other]: row.tolist() for other, row in zip(others.tolist(), counts, strict=True)}


def test_one_shard_alone_is_itself():
    part = learner(80)
    one = merged(part, Learned(D))
    one.common.choices = part.common.choices  # the other's clock stands still, the mean is half
    for key in ITEMS:
        slot, own = one.slot_of[key], part.slot_of[key]
        assert np.allclose(one.out[slot], part.out[own], atol=1e-6)
        assert neighbours(one, key) == neighbours(part, key)


def test_counts_add_up_and_vectors_weigh_as_much_as_was_seen():
    parts = [learner(90, 1), learner(30, 2)]
    one = merged(*parts)
    for key in ITEMS:
        slot, own = one.slot_of[key], [part.slot_of[key] for part in parts]
        seen = np.array([part.chosen[s] for part, s in zip(parts, own, strict=True)])
        assert one.chosen[slot] == seen.sum()
        mean = sum(share * part.out[s] for share, part, s in zip(seen / seen.sum(), parts, own, strict=True))
        assert np.allclose(one.out[slot], mean, atol=1e-6)
        bias = sum(share * part.bias[s] for share, part, s in zip(seen / seen.sum(), parts, own, strict=True))
        assert one.arrays.numbers[slot, BIAS] == pytest.approx(bias)
        summed = [neighbours(part, key) for part in parts]
        for other, counts in neighbours(one, key).items():
            expected = np.sum([held[other] for held in summed if other in held], axis=0)
            assert np.allclose(counts, expected, rtol=1e-5)
    shares = np.array([90, 30]) + 1.0
    weights = np.average([part.common.weights for part in parts], axis=0, weights=shares)
    assert np.allclose(one.common.weights, weights, atol=1e-6)
    assert one.common.choices == 60


def test_recent_counts_are_those_of_now_and_fade_on():
    parts = [learner(90, 1), learner(30, 2)]
    one = merged(*parts)
    row = SIGNALS.index("recent_short")

    def recent(learned, key):
        slots = np.array([learned.slot_of[key]], np.int32)
        return np.expm1(stack.signals(learned, slots[:0], slots)[0, row])

    for key in ITEMS:
        assert recent(one, key) == pytest.approx(sum(recent(part, key) for part in parts), rel=1e-4)
    before = recent(one, "i1")
    one.common.choices += 500
    assert recent(one, "i1") == pytest.approx(before / np.e, rel=1e-3)
    assert one.arrays.numbers[one.slot_of["i1"], RECENT] >= 0


def test_taking_a_row_again_changes_nothing():
    parts = [learner(90, 1), learner(30, 2)]
    whole = Merged(parts)
    for key in (COMMON, *ITEMS, *ITEMS, COMMON):
        whole.take(key)
    once = merged(*parts)
    for key in ITEMS:
        a, b = whole.learned.slot_of[key], once.slot_of[key]
        assert np.allclose(
            whole.learned.arrays.numbers[a, [CHOSEN, MET]], once.arrays.numbers[b, [CHOSEN, MET]]
        )
        assert neighbours(whole.learned, key) == neighbours(once, key)


def test_an_item_is_there_as_long_as_one_shard_knows_it():
    parts = [learner(40, 1), learner(40, 2)]
    whole = Merged(parts)
    for key in (COMMON, *ITEMS):
        whole.take(key)
    parts[0].drop("i3")
    whole.take("i3")
    assert whole.learned.chosen[whole.learned.slot_of["i3"]] == parts[1].chosen[parts[1].slot_of["i3"]]
    parts[1].drop("i3")
    whole.take("i3")
    assert "i3" not in whole.learned.slot_of
