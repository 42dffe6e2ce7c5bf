"""A table keeps every change until it is stored, however small its cache."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.fake import Rows
from agents.table import Table
from models.popular import Popular, choose
from streams.changelog import NOBODY, NOTE, Note, decode, encode


def table(rows=None, cached=2):
    return Table("popular", rows or Rows(), Popular, Popular.from_row, cached)


def test_a_key_without_a_row_is_new():
    assert table().partition(0).get("a") == Popular()


def test_a_change_is_seen_before_during_and_after_its_flush():
    held = table(cached=0)
    partition = held.partition(0)
    partition.put("a", choose(partition.get("a"), "i", 1.0))
    assert partition.get("a").items == {"i": 1.0}
    assert held.dirty() == [partition]
    frozen = partition.freeze()
    assert list(frozen) == [b"a"]
    assert held.dirty() == []
    assert partition.get("a").items == {"i": 1.0}
    partition.store(0)
    assert partition.get("a").items == {"i": 1.0}


def test_a_change_during_a_flush_belongs_to_the_next():
    rows = Rows()
    partition = table(rows).partition(0)
    partition.put("a", choose(partition.get("a"), "i", 1.0))
    partition.freeze()
    partition.put("a", choose(partition.get("a"), "i", 1.0))
    partition.store(0)
    assert Popular.from_row(rows.get_row(0, b"a")).items == {"i": 1.0}
    partition.freeze()
    partition.store(1)
    assert Popular.from_row(rows.get_row(0, b"a")).items == {"i": 2.0}
    assert rows.offsets == {0: 1}


def test_a_flush_that_was_not_stored_stops_the_next():
    partition = table().partition(0)
    partition.put("a", partition.get("a"))
    partition.freeze()
    with pytest.raises(AssertionError, match="was not stored"):
        partition.freeze()


def test_what_is_forgotten_is_read_from_its_rest():
    rows = Rows()
    held = table(rows)
    for number in (0, 1):
        partition = held.partition(number)
        partition.put("a", choose(partition.get("a"), "i", 1.0))
        partition.freeze()
        partition.store(0)
        partition.put("a", choose(partition.get("a"), "i", 1.0))
    held.forget([0])
    assert held.partition(0).get("a").items == {"i": 1.0}
    assert held.partition(1).get("a").items == {"i": 2.0}
    held.forget()
    assert held.dirty() == []
    assert held.partition(1).get("a").items == {"i": 1.0}


def test_a_claim_says_what_rows_rest_and_the_note_what_the_flush_adds():
    """A worker may die between its claim and its first rows: the claim must not speak for them."""
    rows = Rows()
    rows.put_rows(0, {NOTE: encode(Note(0, {"events": 3}))}, 0)
    partition = table(rows).partition(0)
    partition.put("a", partition.get("a"))
    partition.freeze({"events": 9})
    assert decode(partition.claim()) == Note(NOBODY, {"events": 3})
    partition.claimed(1)
    assert decode(partition.note()) == Note(1, {"events": 9})
    partition.store(3)
    assert decode(rows.get_row(0, NOTE)) == Note(1, {"events": 9})
    partition.freeze({"events": 5})
    assert decode(partition.note()) == Note(1, {"events": 9})


def test_positions_alone_are_reason_for_a_flush():
    """A worker died between its last row and its note: a replay changes no row, and the note must still be said."""
    held = table()
    partition = held.partition(0)
    assert held.dirty() == []
    partition.reach("touches", 4)
    partition.reach("touches", 2)  # another replay
    assert held.dirty() == [partition]
    assert partition.freeze() == {}
    partition.reach("touches", 5)
    assert decode(partition.note()).positions == {"touches": 4}
    partition.store(0)
    assert held.dirty() == [partition]
    partition.freeze()
    partition.store(1)
    assert held.dirty() == []


def test_what_a_fenced_worker_said_last_is_said_again():
    rows, known = Rows(), choose(Popular(), "i", 1.0)
    rows.put_rows(0, {b"a": known.row(), NOTE: encode(Note(3, {"touches": 4}, (b"a", b"new", NOTE)))}, 7)
    held = table(rows)
    partition = held.partition(0)
    assert held.dirty() == [partition]
    assert partition.freeze() == {b"a": known.row()}  # what has no row yet will be folded
    partition.store(8)
    assert decode(rows.get_row(0, NOTE)) == Note(NOBODY, {"touches": 4})
    rows.put_rows(1, {NOTE: encode(Note(3, {}, (NOTE,)))}, 7)
    assert held.dirty() == []
    assert held.partition(1) in held.dirty()


def test_memory_is_bounded_by_two_generations():
    partition = table(cached=10).partition(0)
    for n in range(200):
        partition.put(str(n), partition.get(str(n)))
        if n % 5 == 4:
            partition.freeze()
            partition.store(n)
    assert len(partition._young) + len(partition._old) <= 2 * (10 + 5)


@given(
    st.integers(0, 3),
    st.lists(st.sampled_from("abcdef") | st.sampled_from(["freeze", "store"]), max_size=60),
)
def test_no_choice_is_lost_whatever_the_cache_forgets(cached, steps):
    rows = Rows()
    partition = table(rows, cached).partition(0)
    expected, offset = dict.fromkeys("abcdef", 0), 0
    for step in [*steps, "store", "freeze", "store"]:
        if step == "freeze":
            if not partition.frozen:
                partition.freeze()
        elif step == "store":
            if partition.frozen:
                partition.store(offset)
                offset += 1
        else:
            partition.put(step, choose(partition.get(step), "i", 1.0))
            expected[step] += 1
    found = {
        key: Popular.from_row(row).items["i"] for key, row in rows.rows.get(0, {}).items() if key != NOTE
    }
    assert found == {key.encode(): count for key, count in expected.items() if count}
