"""The demo's data are events and items that keep the contract."""

import time
from itertools import pairwise

import pytest

from ops.log import groceries
from streams import events, items
from streams.errors import Unavailable

NOW = 1_700_000_000_000


@pytest.fixture(scope="module")
def lines():
    try:
        return groceries.purchases(300, NOW)
    except Unavailable as missing:
        pytest.skip(str(missing))


def test_purchases_are_in_time_order_and_end_now(lines):
    assert len(lines) == 300
    assert lines["at"][-1] == NOW
    assert all(a <= b for a, b in pairwise(lines["at"]))
    assert abs(groceries.purchases(10)["at"][-1] - time.time() * 1000) < 60_000


def test_every_purchase_is_a_valid_event_with_an_id_of_its_own(lines):
    said = list(groceries.events(lines))
    assert events.decode(events.encode(said), NOW) == said
    assert len({event.event_id for event in said}) == 300


def test_every_product_bought_is_listed_once_with_a_title(lines):
    catalogue = list(groceries.items(lines))
    keys = [key for key, _ in catalogue]
    assert set(keys) == set(lines["product"])
    assert len(keys) == len(set(keys))
    for _, item in catalogue:
        assert items.decode(items.encode(item)) == item
        assert item.title


def test_an_event_carries_the_categories_of_its_item(lines):
    catalogue = dict(groceries.items(lines))
    assert all(event.categories == catalogue[event.item_id].categories for event in groceries.events(lines))


def test_missing_data_tell_the_way_out(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(Unavailable, match="make setup"):
        groceries.folder()
