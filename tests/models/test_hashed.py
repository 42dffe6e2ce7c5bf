import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.hashed import EMPTY, copy, empty, found, place, put
from models.learned import Learned
from tests.models.examples import hashes

pairs = st.lists(st.tuples(st.integers(0, 2**31 - 1) | st.integers(0, 5), st.integers(0, 100)), max_size=40)


def filled(said, size=64):
    table = empty(size)
    new = sum(put(table, number, slot) for number, slot in said)
    assert new == len({number for number, _ in said})
    return table


@given(pairs, st.randoms())
def test_a_table_says_what_a_dict_says_and_of_two_the_later_slot_in_any_order(said, draw):
    expected = {}
    for number, slot in said:
        expected[number] = max(slot, expected.get(number, EMPTY))
    larger = empty(256)
    copy(filled(said), larger)
    draw.shuffle(said)
    for table in (filled(said), larger):
        assert {number: int(table[place(table, number), 1]) for number in expected} == expected
        assert table[place(table, 77), 1] == expected.get(77, EMPTY)


@given(pairs, st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 100), max_size=8))
def test_numbers_are_looked_up_from_the_last_to_the_first_but_for_some(said, sought, but):
    expected = {}
    for number, slot in said:
        expected[number] = max(slot, expected.get(number, EMPTY))
    slots = [
        expected[number] for number in reversed(sought) if number in expected and expected[number] not in but
    ]
    assert found(filled(said), np.array(sought, np.int32), np.array(but, np.int32)).tolist() == slots


def test_a_forgotten_item_is_found_no_more_and_its_slot_not_as_another():
    learned = Learned(8)
    for key in ("a", "b"):
        learned.slot(key)
    row = learned.row(learned.slot_of["b"])
    learned.drop("b")
    assert learned.before(hashes(["a", "b"]), learned.slots(())).tolist() == [0]
    learned.put("c", row)
    assert learned.before(hashes(["a", "b", "c"]), learned.slots(())).tolist() == [1, 0]
    assert learned.before(hashes(["b"]), learned.slots(())).tolist() == []


def test_items_are_found_by_what_users_remember_of_them_however_many_there_are():
    learned, keys = Learned(8), [f"i{n}" for n in range(1000)]
    for key in keys:
        learned.slot(key)
    sought = ["i3", "never met", "i999", "i0"]
    assert learned.before(hashes(sought), learned.slots(("i999",))).tolist() == [0, 3]
    assert learned.before(b"", learned.slots(())).tolist() == []
    again = Learned(8)
    for key in reversed(keys):
        again.put(key, learned.row(learned.slot_of[key]))
    every = learned.before(hashes(keys), learned.slots(()))
    assert every.tolist() == list(range(999, -1, -1))
    assert again.before(hashes(keys), learned.slots(())).tolist() == every.tolist()
