import numpy as np
import pytest
from hypothesis import given, settings

from models import neighbours
from models.learned import CHOSEN, COUNTS, LEADS, PAGE, PAGES, USED, VERSION, Learned
from streams.rows import unpack
from tests.models.examples import choices, said


def counts_of(learned, key):
    """Return the counts of an item's neighbours by key, as its row tells them."""
    _, _, _, _, others, counts = unpack(VERSION, learned.row(learned.slot_of[key]))
    told = np.reshape(counts, (-1, COUNTS)).tolist()
    return dict(zip((learned.keys[slot] for slot in np.frombuffer(others, np.int32)), told, strict=True))


@settings(max_examples=25, deadline=None)
@given(choices())
def test_counts_are_those_of_the_examples_while_there_is_room(examples):
    learned = said(examples)
    expected = {}
    for example in examples:
        if example.weight > 0:
            amount = min(example.weight, 1.0)
            for k, other in enumerate(example.after):
                there = expected.setdefault(other, {}).setdefault(example.item, [0.0] * COUNTS)
                back = expected.setdefault(example.item, {}).setdefault(other, [0.0] * COUNTS)
                there[0] += amount * (k == 0)
                there[1] += amount * neighbours.NEAR**k
                back[2] += amount * neighbours.NEAR**k
    for key in learned.slot_of:
        found = counts_of(learned, key)
        assert found.keys() == expected.get(key, {}).keys()
        for other, told in found.items():
            np.testing.assert_allclose(told, expected[key][other], rtol=1e-5)


@pytest.mark.parametrize("new", range(3))
def test_a_full_list_gives_up_a_neighbour_with_few_counts(new):
    learned = Learned(8)
    item, most = learned.slot("item"), PAGE * PAGES
    others = [learned.slot(f"o{n}") for n in range(most + 3)]
    learned.ready(pages=PAGES)
    for n, other in enumerate(others[:most]):
        neighbours.count(learned.arrays, item, other, LEADS, 1.0 if n % PAGE == 7 else 2.0)
    neighbours.count(learned.arrays, item, others[most + new], LEADS, 1.0)
    found = counts_of(learned, "item")
    assert len(found) == most
    (gone,) = {f"o{n}" for n in range(most)} - found.keys()
    assert int(gone[1:]) % PAGE == 7
    assert found[f"o{most + new}"] == [0.0, 0.0, 1.0]


def test_sums_over_a_trail_are_those_of_their_definition():
    learned = Learned(8)
    a, b, c = (learned.slot(key) for key in "abc")
    learned.ready(pages=8)
    learned.arrays.numbers[:3, CHOSEN] = (4.0, 9.0, 11.0)
    neighbours.meet(learned.arrays, c, np.array([a, b], np.int32), 1.0)
    table, _, sums = neighbours.gather(learned.arrays, np.array([a, b], np.int32))
    told = sums[table[neighbours.place(table, c), 1]]
    alike = (1 / (2 + 5) + neighbours.LIKE * neighbours.NEAR / (3 + 5)) / 4.0
    chain = (1 / (2 + 1) + neighbours.NEAR**2 / (3 + 1)) / 16.0**0.3
    singles = [1 / (2 + 5) / 4.0, neighbours.NEAR / (3 + 5) / 4.0, 0.0]
    np.testing.assert_allclose(told, [alike, chain, 1 / 3 / 16.0**0.3, 0.0, 2.0, *singles], rtol=1e-5)
    assert not sums[:2].any()  # the trail itself
    table, _, sums = neighbours.gather(learned.arrays, np.array([b, c], np.int32))
    lead = neighbours.BRIEF * neighbours.NEAR**0 / (11**0.5 + 1) / 9.0**0.3
    assert sums[table[neighbours.place(table, a), 1], neighbours.LEAD] == pytest.approx(lead)


def test_lists_and_so_rows_are_bounded():
    learned = said([])
    for n in range(2_000):
        learned.slot(f"o{n}")
    item = learned.slot("item")
    learned.ready(pages=PAGES)
    for n in range(2_000):
        neighbours.count(learned.arrays, item, n, LEADS, 1.0)
    assert learned.arrays.numbers[item, USED] == PAGE * PAGES
    assert len(learned.row(item)) < PAGE * PAGES * 4 * (1 + COUNTS) + 1_000


def test_older_choices_are_known_to_be_chosen_and_count_for_nothing_else():
    learned = Learned(8)
    trail = np.array([learned.slot(f"t{n}") for n in range(neighbours.REACH + 2)], np.int32)
    item = learned.slot("item")
    learned.ready(pages=4 * len(trail))
    neighbours.meet(learned.arrays, item, trail, 1.0)
    assert counts_of(learned, "item").keys() == {f"t{n}" for n in range(neighbours.REACH)}
    table, found, sums = neighbours.gather(learned.arrays, trail)
    assert found[: len(trail)].tolist() == trail.tolist()
    assert not sums[: len(trail)].any()
    assert table[neighbours.place(table, item), 1] == len(trail)
