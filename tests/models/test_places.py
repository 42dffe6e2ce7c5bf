"""The sparse set agrees with a dictionary, whatever it held before."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.places import Places

SLOTS = st.lists(st.integers(0, 3000), max_size=60)


@given(st.lists(st.tuples(SLOTS, st.lists(st.integers(-2, 5000), max_size=40)), max_size=5))
def test_take_and_find_agree_with_a_dictionary(rounds):
    places = Places()
    for slots, asked in rounds:
        first = places.take(np.array(slots, dtype=np.int64))
        distinct = list(dict.fromkeys(slots))
        assert places.slots.tolist() == distinct
        assert [slots[n] for n in first] == distinct
        where = {slot: n for n, slot in enumerate(distinct)}
        assert places.find(np.array(asked, dtype=np.int64)).tolist() == [
            where.get(slot, -1) for slot in asked
        ]


def test_holding_fewer_forgets_the_others():
    places = Places()
    places.take(np.array([5, 6, 7]))
    places.hold(np.array([7, 5]))
    assert places.find(np.array([5, 6, 7])).tolist() == [1, -1, 0]
