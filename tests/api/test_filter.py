"""Filter: what fills a list for want of candidates."""

from hypothesis import given, settings
from hypothesis import strategies as st

from api.answers import Request
from api.fake import Fake
from api.filter import Filter, nothing
from models.features import Asker
from models.items import ItemRow
from models.places import Places
from models.surfaces import Surface

NOW = 1_750_000_000_000
ITEMS = 12


def filled(order, least=5, exclude=()):
    """Return what fills an empty list where items were met in this order, and nothing is popular yet."""
    fake = Fake(16)
    for n in order:
        fake.columns.put(f"i{n}", ItemRow(catalogue={}))
    request = Request(at=NOW, exclude=exclude)
    rules, places = Filter(fake.state, Surface(), request, Asker(float(NOW))), Places()
    return [fake.columns.ids[slot] for slot in rules.fill(nothing(places), least, places).slots]


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(ITEMS)), st.integers(1, ITEMS + 2))
def test_a_list_is_filled_alike_in_whatever_order_items_were_met(order, least):
    assert filled(order, least) == filled(range(ITEMS), least)


def test_a_list_is_filled_as_far_as_there_are_items_that_may_be_shown():
    every = filled(range(ITEMS), ITEMS + 1)
    assert sorted(every) == sorted(f"i{n}" for n in range(ITEMS))
    assert filled(range(ITEMS), 3, exclude=(every[1],)) == [every[0], every[2], every[3]]
