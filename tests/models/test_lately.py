"""Lately: windows are those of the folds, and sums do not tell in which order rows came."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.columns import Columns
from models.decay import DAY
from models.items import CHOICES, WINDOWS, ItemRow, sliding, touch
from models.lately import Totals, lately, shares
from streams.touches import Touch

NOW = 1_700_000_000_000 // DAY * DAY + DAY // 2 + 1_234_567
TIMES = st.lists(st.lists(st.integers(0, 20 * DAY), max_size=12), min_size=1, max_size=8)


def row(ages):
    """The row of an item that was chosen so long (ms) ago."""
    item = ItemRow()
    for n, age in enumerate(ages):
        touch(item, Touch(n, "i", "click", NOW - age, 1.0, -1, "home", ()))
    return item


@settings(deadline=None, max_examples=60)
@given(TIMES, st.integers(0, 21 * DAY))
def test_windows_are_those_of_the_rows(ages, later):
    rows, columns, now = [row(one) for one in ages], Columns(8), NOW + later
    columns.put_all([(f"i{n}", one) for n, one in enumerate(rows)])
    *windows, trend = lately(columns, slice(len(rows)), now)
    expected = [
        [sliding(one.windows[w], span, now, CHOICES) for one in rows] for w, span in enumerate(WINDOWS)
    ]
    for found, exact in zip(windows, expected, strict=True):
        assert found.tolist() == pytest.approx(exact, abs=1e-4)
    assert np.isfinite(trend).all()
    hour, day, week = map(sum, expected)
    assert shares(columns.totals.at(now), now) == pytest.approx(
        (hour / day if day else 0, day / week if week else 0)
    )


@settings(deadline=None, max_examples=60)
@given(TIMES, st.randoms(use_true_random=False), st.integers(0, 8 * DAY))
def test_sums_tell_neither_the_order_nor_how_often_rows_came(ages, draw, later):
    straight, wild = Columns(8), Columns(8)
    straight.put_all([(f"i{n}", row(one)) for n, one in enumerate(ages)])
    steps = [(n, end) for n, one in enumerate(ages) for end in range(len(one) + 1)]
    draw.shuffle(steps)  # rows of the past come after newer ones, too
    for n, end in [*steps, *((n, len(one)) for n, one in enumerate(ages))]:
        wild.put(f"i{n}", row(ages[n][:end]))
    assert (straight.totals.at(NOW + later) == wild.totals.at(NOW + later)).all()
    for n in range(len(ages)):
        wild.drop(f"i{n}")
    assert wild.totals._of == Totals()._of
