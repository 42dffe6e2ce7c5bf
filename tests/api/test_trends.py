"""The picture of the columns: windows equal the folds', lists hold what they promise."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from api.columns import Columns
from api.trends import FRESH, LISTED, RISING, Trends
from models.decay import DAY
from models.items import CHOICES, WINDOWS, ItemRow, list_item
from models.lately import lately
from streams.items import Item

HOUR = WINDOWS[0]
NOW = 1_700_000_000_000 // DAY * DAY + 12 * HOUR + HOUR // 2


def item(times=(), categories=(), **catalogue):
    """A row with choices at these times, counted as the fold does."""
    row = list_item(ItemRow(), Item(categories=tuple(categories), **catalogue))
    for at in sorted(times):
        for window, span in zip(row.windows, WINDOWS, strict=True):
            if at // span != window[0]:
                window[4:7] = window[1:4] if at // span == window[0] + 1 else [0, 0, 0]
                window[:4] = [at // span, 0, 0, 0]
            window[1 + CHOICES] += 1
        row.first_at = row.first_at or at
        row.chosen += 1
    return row


def shown(rows, now=NOW):
    columns = Columns(8)
    columns.put_all([(f"i{n}", row) for n, row in enumerate(rows)])
    trends = Trends(columns)
    trends.refresh(now)
    return trends


def steady(n, per_day=24):
    return item([NOW - k * (DAY // per_day) - n for k in range(13 * per_day)])


def test_a_burst_is_a_trend_and_one_click_is_not():
    rows = [steady(n) for n in range(30)]
    rows.append(item([NOW - k * 1000 for k in range(40)]))
    rows.append(item([NOW - 1000]))
    trends = shown(rows)
    assert trends.trending.tolist() == [30]
    *_, trend = lately(trends._columns, slice(32), NOW)
    assert trend[31] < RISING
    assert abs(np.median(trend[:30])) < 0.5


def test_what_all_do_together_is_no_trend():
    evening = [NOW - k * 1000 for k in range(50)]
    rows = [item([NOW - DAY - n, NOW - 2 * DAY, NOW - 5 * DAY, *evening]) for n in range(30)]
    assert shown(rows).trending.tolist() == []


def test_fresh_items_are_new_and_the_least_looked_at_first():
    rows = [
        item(published_at=NOW - 2 * DAY),
        item(published_at=NOW - DAY),
        item(published_at=NOW - DAY // 2),
        item(published_at=NOW - FRESH - 1),
        item(published_at=NOW + DAY),
        item([NOW - 3 * DAY]),
        item(),
        item(published_at=NOW - DAY, available=False),
        item(published_at=NOW - DAY, expires_at=NOW - 1),
    ]
    rows[2].examined = 50.0
    assert shown(rows).fresh.tolist() == [1, 0, 5, 6, 2]


def test_lists_hold_only_what_can_be_shown():
    rows = [item([NOW], ["c"]), item([NOW] * 2, ["c"], available=False), ItemRow(chosen=9)]
    trends = shown([*rows, item([NOW] * 3, ["c"], expires_at=NOW)])
    assert trends.popular_all.tolist() == [0]
    assert trends.by_category(0).tolist() == [0]


def test_popular_is_the_week_before_all_time_and_all_time_when_nothing_moves():
    rows = [
        item([NOW - n * DAY // 8 for n in range(8)]),
        item([NOW - 60 * DAY - n for n in range(20)]),
        item([NOW]),
    ]
    assert shown(rows).popular_all.tolist() == [0, 1, 2]
    assert shown(rows, NOW + 90 * DAY).popular_all.tolist() == [1, 0, 2]


def test_every_category_has_its_own_order():
    rows = [item([NOW] * (n % 7), [f"c{n % 3}", f"d{n % 2}"]) for n in range(40)]
    trends = shown(rows)
    codes = trends._columns.category_code
    for name, code in codes.items():
        slots = trends.by_category(code)
        expected = [n for n in range(40) if name in rows[n].catalogue["categories"]]
        assert sorted(slots.tolist()) == expected
        _, _, week, _ = lately(trends._columns, slots, NOW)
        assert week.tolist() == sorted(week.tolist(), reverse=True)
    assert trends.by_category(99).tolist() == []


def test_without_items_there_is_nothing_and_many_are_bounded():
    empty = shown([])
    assert len(empty.trending) == len(empty.fresh) == len(empty.popular_all) == 0
    many = shown([item([NOW]) for _ in range(LISTED + 5)])
    assert len(many.popular_all) == len(many.fresh) == LISTED


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(12)))
def test_equals_are_listed_alike_in_whatever_order_items_were_met(order):
    rows = [item([NOW - DAY] * (n % 3), categories=["a"]) for n in range(12)]

    def lists(order):
        columns = Columns(8)
        for n in order:
            columns.put(f"i{n}", rows[n])
        trends = Trends(columns)
        trends.refresh(NOW)
        found = trends.popular_all, trends.fresh, trends.trending, trends.by_category(columns.category("a"))
        return [[columns.ids[slot] for slot in one] for one in found]

    assert lists(order) == lists(range(12))
