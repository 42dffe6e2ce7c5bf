import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest

import ops.train
from models.arrays import pack, unpack
from models.sequence import SequenceModel
from ops.train.sequence import Plan, train_sequence
from streams.errors import Refused

ITEMS = 12
SMALL = Plan(width=16, heads=2, window=8, negatives=8, tokens=64, rate=1e-2, epochs=3)
trains = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None or importlib.util.find_spec("optax") is None,
    reason="training needs the extra `deep`",
)


def rounds(people=40, seed=1):
    """Trails in which item n is followed by n + 1 and, after the last, by 0."""
    rng = np.random.default_rng(seed)
    return [
        ((int(rng.integers(ITEMS)) + np.arange(rng.integers(3, ITEMS))) % ITEMS).astype(np.int32)
        for _ in range(people)
    ]


@pytest.fixture(scope="module")
def trained():
    said = []
    return train_sequence(rounds(), ITEMS, replace(SMALL, epochs=30), said.append), said


@trains
def test_what_always_follows_is_learned(trained):
    found, said = trained
    model = SequenceModel.of(found.arrays)
    for item in range(3, ITEMS):
        after = np.array([item, item - 1, item - 2])
        scores = model.places() @ model.query(after)
        scores[after] = -np.inf
        assert scores.argmax() == (item + 1) % ITEMS
    assert said[0].startswith("epoch 1 of at most 30: loss ")
    assert found.metrics["hr@10"] >= found.metrics["ndcg@10"] > 0.6
    assert found.facts["held_out"] == 10
    assert found.facts["kept_epoch"] <= found.facts["run_epochs"] == len(said)


@trains
def test_numpy_and_the_framework_give_the_same_queries(trained):
    from ops.train.attention import queries

    arrays = trained[0].arrays
    model = SequenceModel.of(arrays)
    trails = np.random.default_rng(2).integers(ITEMS, size=(5, 8))
    wanted = np.asarray(queries(arrays, trails))
    for trail, rows in zip(trails, wanted, strict=True):
        for t in range(8):
            assert model.query(trail[: t + 1][::-1])[:-1] == pytest.approx(rows[t], abs=1e-4)


@trains
def test_one_seed_gives_one_model_and_another_seed_another():
    one, same, other = (
        train_sequence(rounds(), ITEMS, replace(SMALL, epochs=1, seed=seed), lambda _: None)
        for seed in (1, 1, 2)
    )
    packed = [pack("sequence", found.facts, found.arrays) for found in (one, same, other)]
    assert packed[0] == packed[1] != packed[2]
    kept = SequenceModel.of(unpack(packed[0])[2])
    assert (kept.places() == SequenceModel.of(one.arrays).places()).all()


@trains
def test_it_stops_when_no_epoch_was_better_for_a_while():
    rng = np.random.default_rng(5)  # nothing to learn
    noise = [rng.permutation(ITEMS).astype(np.int32) for _ in range(40)]
    found = train_sequence(noise, ITEMS, replace(SMALL, epochs=40, patience=2), lambda _: None)
    assert found.facts["run_epochs"] == found.facts["kept_epoch"] + 2 < 40


@trains
def test_trails_longer_than_the_window_and_of_two_items_are_learned_from():
    trails = [
        *rounds(30),
        *(np.arange(2, dtype=np.int32) for _ in range(10)),
        np.arange(40, dtype=np.int32) % ITEMS,
    ]
    found = train_sequence(trails, ITEMS, replace(SMALL, epochs=1), lambda _: None)
    assert np.isfinite(found.metrics["hr@10"])


@trains
@pytest.mark.parametrize(
    ("trails", "message"),
    [
        ([], "0 people chose two items"),
        ([np.array([3], np.int32)] * 50, "0 people chose two items"),
        (rounds(5), "5 people chose two items or more; a sequence model needs 20"),
        ([*rounds(), np.array([1, ITEMS], np.int32)], "item 12 is none of the 12"),
        ([*rounds(), np.array([1, -1], np.int32)], "item -1 is none"),
    ],
)
def test_too_little_or_impossible_data_is_refused(trails, message):
    with pytest.raises(Refused, match=message):
        train_sequence(trails, ITEMS, SMALL, lambda _: None)


def test_without_the_extra_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.delitem(sys.modules, "ops.train.attention", raising=False)
    monkeypatch.delattr(ops.train, "attention", raising=False)
    with pytest.raises(Refused, match=r"pip install refold\[deep\]"):
        train_sequence(rounds(), ITEMS, SMALL, lambda _: None)
