"""A history is what was said, in the order in which it became known, whoever kept it."""

from pathlib import Path

from models.actions import DEFAULTS
from ops.evaluate.source import Columns, opened
from ops.train.history import _merged, of_file
from streams import events, items
from streams.events import Event
from streams.items import Item
from streams.log import Record

START = 1_750_000_000_000


def happened(partition, offset, at, *said, headers=()):
    value = said[0] if isinstance(said[0], bytes) else events.encode(list(said))
    return Record("shop.events", partition, offset, b"u", value, at / 1000, headers)


def click(n, kind="click"):
    return Event(event_id=str(n), type=kind, at=START, user_id="u", item_id=f"i{n}")


def listed(offset, at, key, item):
    return Record("shop.items", 0, offset, key, None if item is None else items.encode(item), at / 1000)


def merged(*parts):
    return list(_merged(parts, DEFAULTS))


def test_records_come_in_the_order_of_their_times_the_catalogue_first():
    found = merged(
        (1, [happened(0, 0, START + 1, click(1)), happened(0, 1, START + 5, click(2))]),
        (1, [happened(1, 0, START + 3, click(3))]),
        (0, [listed(0, START + 5, b"i9", Item(title="nine")), listed(1, START + 9, b"i9", None)]),
    )

    assert [said.item or said.event.item_id for said in found] == ["i1", "i3", "i9", "i2", "i9"]
    assert [said.at - START for said in found] == [1, 3, 5, 5, 9]
    assert found[2].catalogue.title == "nine"
    assert found[4].catalogue is None


def test_a_partition_keeps_its_order_when_a_clock_was_set_back():
    found = merged(
        (1, [happened(0, 0, START + 50, click(1)), happened(0, 1, START + 2, click(2))]),
        (1, [happened(1, 0, START + 20, click(3))]),
    )

    assert [said.event.item_id for said in found] == ["i3", "i1", "i2"]


def test_what_is_a_dead_letter_is_left_out():
    found = merged(
        (1, [happened(0, 0, START, b"\xc1"), happened(0, 1, START, click(1))]),
        (0, [listed(0, START, b"i", None)]),
    )

    assert [said.event and said.event.item_id for said in found] == [None, "i1"]


def test_only_choices_are_wanted():
    found = merged((1, [happened(0, 0, START, click(1), click(2, "impression"), click(3, "dislike"))]))

    assert [said.wanted for said in found] == [True, False, False]


def test_a_batch_that_someone_was_erased_from_says_what_is_left():
    value = events.without(events.encode([click(1), click(2)]), {0})

    found = merged((1, [happened(0, 0, START, value, headers=(("erased", b""),))]))

    assert [said.event.item_id for said in found] == ["i2"]


def test_an_item_of_a_file_is_listed_once_after_it_was_first_chosen(tmp_path: Path):
    file = tmp_path / "events.csv"
    file.write_text("user,item,at,kind\nu,a,1750000000,x|y\nv,a,1750000001,x|y\nv,b,1750000002,z\n")
    with opened(file, Columns(category="kind")) as source:
        found = list(of_file(source, file.name, DEFAULTS).read())

    assert [said.item or said.event.item_id for said in found] == ["a", "a", "a", "b", "b"]
    assert [bool(said.event) for said in found] == [True, False, True, True, False]
    assert found[1].catalogue == Item(categories=("x", "y"))
    assert all(said.wanted for said in found if said.event)
