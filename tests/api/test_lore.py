"""Lore: the learner's slots and the columns' never mix, whatever comes first and whatever goes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from api.columns import Columns
from api.lore import Lore
from models.learned import COMMON, FREE, Learned
from models.learner import Learner
from models.signals import SIGNALS
from streams.examples import Choice

D = 8


def learner(trails, n=12, seed=0):
    found, rng = Learner(Learned(D)), np.random.default_rng(seed)
    for k in range(trails):
        item, *after = (f"i{m}" for m in rng.permutation(n)[:4])
        found.learn(Choice(k, item, tuple(after), k, 1.0))
    return found


def said(lore, learned, keys):
    for key in keys:
        lore.put(0, key, learned.row(learned.slot_of[key]))
    lore.put(0, COMMON, learned.common.row())


steps = st.lists(st.tuples(st.sampled_from(["listed", "learned", "gone"]), st.integers(0, 11)), max_size=40)


@settings(deadline=None, max_examples=40)
@given(steps)
def test_slots_meet_however_items_come_and_go(history):
    learned = learner(40).learned
    columns = Columns(capacity=1)
    lore = Lore(columns, D)
    known = set()
    for what, n in history:
        key = f"i{n}"
        if what == "listed":
            columns.slot(key)
        elif what == "learned":
            said(lore, learned, [key])
            known.add(key)
        else:
            lore.put(0, key, None)
            known.discard(key)
    every = np.arange(len(columns))
    own = lore.slots(every)
    for item, slot in zip(columns.ids, own.tolist(), strict=True):
        assert (slot != FREE) == (item in known)
        assert slot == FREE or lore.learned.keys[slot] == item
    near, _ = lore.related(lore.after([f"i{n}" for n in range(4)]), 99)
    assert {columns.ids[slot] for slot in near} <= known
    assert (lore.places(every).any(axis=1) == (own != FREE)).all()
    assert ((lore.chosen(every) > 0) <= (own != FREE)).all()


def test_an_unknown_item_is_described_as_one_that_nobody_ever_chose():
    learned = learner(40).learned
    columns = Columns()
    lore = Lore(columns, D)
    said(lore, learned, learned.slot_of)
    new = columns.slot("new")
    rows = lore.signals(lore.after(["i1", "i2"]), np.array([new, columns.slot_of["i3"]]))
    blank = dict(zip(SIGNALS, rows[0].tolist(), strict=True))
    assert {blank[name] for name in ("chosen", "recent_long", "alike", "follows", "next", "embedding")} == {
        0.0
    }
    assert blank["rested"] == np.float32(np.log1p(40))
    assert rows[1, SIGNALS.index("chosen")] > 0
    assert np.isfinite(rows).all()


def test_before_anything_is_known_nothing_is_near():
    lore = Lore(Columns(), D)
    assert lore.query(lore.after(["a"])) is None
    assert not len(lore.related(lore.after(["a"]), 9)[0])
    assert lore.near("a", 9) == []
    assert not lore.places(np.arange(3)).any()


def test_near_items_are_named_the_strongest_first():
    learned = learner(200).learned
    lore = Lore(Columns(), D)
    said(lore, learned, learned.slot_of)
    near = lore.near("i1", 5)
    assert len(near) == 5
    assert "i1" not in dict(near)
    assert [strength for _, strength in near] == sorted((s for _, s in near), reverse=True)


def test_shards_are_one_for_those_who_read():
    whole = Lore(Columns(), D, shards=2)
    parts = [learner(60, seed=seed).learned for seed in range(2)]
    for shard, part in enumerate(parts):
        whole.put(shard, COMMON, part.common.row())
    for shard, part in enumerate(parts):
        for key, slot in part.slot_of.items():
            whole.put(shard, key, part.row(slot))
    one = whole.learned
    for key in parts[0].slot_of:
        counts = [part.chosen[part.slot_of[key]] for part in parts]
        assert one.chosen[one.slot_of[key]] == sum(counts)
    columns = np.arange(12)
    after = whole.after(["i1", "i2"])
    assert (whole.signals(after, columns)[:, SIGNALS.index("chosen")] > 0).all()
    assert np.isfinite(whole.relevance(whole.signals(after, columns), after)).all()
    assert len(whole.related(after, 99)[0]) == 10
    whole.put(1, "i3", None)
    assert one.chosen[one.slot_of["i3"]] == parts[0].chosen[parts[0].slot_of["i3"]]
    whole.put(0, "i3", None)
    assert "i3" not in one.slot_of
