"""Popular lists: merged over partitions, alike in every process."""

from hypothesis import given
from hypothesis import strategies as st

from api.columns import Columns
from api.popular import PopularLists
from models.popular import Popular

SUMS = {f"i{n}": float(n % 3 + 1) for n in range(9)}


@given(st.permutations(range(9)))
def test_equals_are_listed_alike_in_whatever_order_items_were_met(order):
    def listed(met):
        columns = Columns(16)
        for n in met:
            columns.slot(f"i{n}")
        lists = PopularLists(columns, lambda _: [Popular(items=dict(SUMS))])
        return [columns.ids[slot] for slot in lists.get("all", 0)[0]]

    assert listed(order) == listed(range(9))
    assert [SUMS[item] for item in listed(order)] == sorted(SUMS.values(), reverse=True)
