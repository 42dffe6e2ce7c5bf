import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.learned import COMMON, Common, Learned
from models.learner import Learner
from models.neighbours import gather
from streams.errors import StateError
from streams.examples import Choice
from streams.rows import pack
from tests.models.examples import choices, rows_of, said


def test_a_slot_is_made_once_and_its_vectors_are_decided_by_the_key():
    one, other = Learned(8), Learned(8)
    other.slot("b")
    assert [one.slot("a"), one.slot("b"), one.slot("a")] == [0, 1, 0]
    assert np.array_equal(one.out[1], other.out[0])
    assert np.array_equal(one.into[1], other.into[0])
    assert not np.array_equal(one.out[0], one.out[1])


def test_unknown_items_have_no_slot():
    learned = Learned(8)
    learned.slot("a")
    assert learned.slots(("x", "a", "y")).tolist() == [0]
    assert len(learned) == 1


@settings(max_examples=25, deadline=None)
@given(choices(), st.randoms())
def test_rows_read_back_in_any_order_are_the_same_state(examples, draw):
    learned = said(examples)
    rows = list(rows_of(learned).items())
    draw.shuffle(rows)
    copy = Learned(8)
    for key, row in rows:
        copy.put(key, row)
    assert rows_of(copy) == rows_of(learned)
    assert copy.keys == learned.keys


@settings(max_examples=25, deadline=None)
@given(choices())
def test_a_replica_that_takes_every_row_as_it_changes_is_the_same_state(examples):
    learned, copy = Learned(8), Learned(8)
    learner = Learner(learned)
    for example in examples:
        learner.learn(example)
        for slot in learner.changed().tolist():
            copy.put(learned.keys[slot], learned.row(slot))
        copy.put(COMMON, learned.common.row())
    assert rows_of(copy) == rows_of(learned)


def test_there_is_room_for_a_neighbour_whose_own_row_comes_later():
    learned = Learned(8)
    learner = Learner(learned)
    for n in range(300):
        learner.learn(Choice(0, f"i{n}", (f"i{n - 1}",) if n else (), 0, 1.0))
    copy = Learned(8)
    copy.put("i298", learned.row(learned.slot_of["i298"]))  # i299 was chosen after it
    assert len(copy.arrays.numbers) > 299
    _, found, sums = gather(copy.arrays, np.array([298], np.int32))
    assert set(found.tolist()) == {297, 298, 299}
    assert np.isfinite(sums).all()


def test_a_dropped_item_is_unknown_and_its_slot_is_not_given_again():
    learned = said([])
    for key in "abc":
        learned.slot(key)
    learned.drop("b")
    learned.drop("never there")
    assert learned.slots(("a", "b", "c")).tolist() == [0, 2]
    assert learned.slot("d") == 3
    assert len(learned) == 3


def test_a_row_of_other_dimensions_is_refused():
    learned = Learned(16)
    slot = learned.slot("a")
    with pytest.raises(StateError, match="16 dimensions, this learner 8"):
        Learned(8).put("a", learned.row(slot))


def test_a_row_of_another_version_is_refused():
    with pytest.raises(StateError, match="version 99"):
        Common.from_row(pack(99, ()))
