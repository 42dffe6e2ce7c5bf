"""Sheets are what the rows of all users add up to, kept up to date by what changed."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.actions import DEFAULTS
from models.outcomes import SHEETS, Outcomes, Sheet, change, merge
from models.users import User, react
from streams.events import Event
from streams.exposures import Exposure
from streams.touches import Outcome

AT = 1_700_000_000_000
NAMES = {
    "x": ("lists", "click", "purchase.value", "pre.click"),
    "y": ("lists", "days", "click.any@home", "capped"),
    "z": ("lists", "prefers"),
}


def _event(n, user, kind, item, step, value):
    common = {"event_id": f"e{n % 37}", "at": AT + n * 400 + step, "user_id": f"u{user}", "surface": "home"}
    if kind == "exposure":
        shown = tuple(
            Exposure(key, 1, "ab"[(user + place) % 2], NAMES[key], b"hash\x01" if key == "z" else b"")
            for place, key in enumerate(NAMES)
            if (item >> place) & 1
        )
        return Event(**common, type=kind, value=float(item), request_id=f"r{n}", exposures=shown)
    if kind == "erase":
        return Event(**{**common, "event_id": f"erase-{n}"}, type=kind)
    return Event(**common, type=kind, item_id=f"i{item}", value=value / 4)


kinds = st.sampled_from(["exposure", "exposure", "click", "click", "purchase", "impression", "erase"])
lives = st.lists(
    st.tuples(st.integers(0, 4), kinds, st.integers(1, 7), st.integers(-3_000, 0), st.integers(0, 9)),
    max_size=60,
).map(lambda lives: [_event(n, *life) for n, life in enumerate(lives)])


def lived(events, parts=2):
    """Users by id, and the rows of outcomes by partition and experiment."""
    rows, parted = defaultdict(User), defaultdict(Outcomes)
    for origin, event in enumerate(events):
        for said in react(rows[event.user], event, origin, DEFAULTS)[2]:
            change(parted[int(event.user[1:]) % parts, said.experiment], said)
    return rows, parted


@settings(deadline=None)
@given(lives)
def test_a_sheet_is_the_gram_matrix_of_the_measures_in_the_users_rows(events):
    """Values are quarters, so that floats are exact."""
    users, parted = lived(events)
    units = defaultdict(list)
    for user in users.values():
        for key, trial in (user.trials.each if user.trials else {}).items():
            units[key, trial.version, trial.arm].append(trial.vector)
    found = defaultdict(list)
    for (_, key), row in parted.items():
        for arm, sheet in row.sheets.items():
            found[key, *arm].append(sheet)
    assert units.keys() <= found.keys()
    for key, sheets in found.items():
        vectors = np.array(units.get(key, np.zeros((0, len(NAMES[key[0]]) + 1))), np.float64)
        merged = merge(sheets)
        assert merged.names == NAMES[key[0]]
        assert merged.gram.tolist() == (vectors.T @ vectors).tolist()
        assert merged.units == len(vectors)


@settings(deadline=None)
@given(lives, st.integers(0, 60))
def test_a_row_is_a_prefix_to_fold_on_from(events, cut):
    said = [
        each
        for user in [defaultdict(User)]
        for origin, event in enumerate(events)
        for each in react(user[event.user], event, origin, DEFAULTS)[2]
        if each.experiment == "x"
    ]
    whole, part = Outcomes(), Outcomes()
    for n, each in enumerate(said):
        change(whole, each)
        change(part, each)
        if n == cut:
            part = Outcomes.from_row(part.row())
    assert Outcomes.from_row(part.row()).row() == part.row() == whole.row()


sheets = st.lists(
    st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), max_size=4), min_size=1, max_size=5
).map(
    lambda parts: [
        Sheet(("a", "b"), vectors.T @ vectors)
        for part in parts
        for vectors in [np.array([[1.0, *each] for each in part]).reshape(-1, 3)]
    ]
)


@given(sheets, st.randoms())
def test_the_order_of_partitions_does_not_matter(parts, draw):
    shuffled = list(parts)
    draw.shuffle(shuffled)
    assert merge(shuffled).gram.tobytes() == merge(parts).gram.tobytes()
    np.testing.assert_allclose(merge(parts).gram, sum(part.gram for part in parts), rtol=1e-9, atol=1e-3)


def test_sheets_that_measure_different_things_are_merged_by_name():
    one = Sheet(("a", "b"), np.arange(9.0).reshape(3, 3))
    other = Sheet(("b", "c"), np.ones((3, 3)))
    merged = merge([one, other])
    assert merged.names == ("a", "b", "c")
    assert merged.gram.tolist() == [[1, 1, 3, 1], [3, 4, 5, 0], [7, 7, 9, 1], [1, 0, 1, 1]]
    assert merge([]).units == 0


def test_units_of_one_arm_that_are_measured_differently_share_a_sheet():
    row = Outcomes()
    change(row, Outcome(0, "x", 1, "a", ("lists", "click"), (), (1.0, 2.0, 3.0)))
    change(row, Outcome(1, "x", 1, "a", ("click", "days"), (), (1.0, 5.0, 7.0)))
    sheet = row.sheets[1, "a"]
    assert sheet.names == ("lists", "click", "days")
    vectors = np.array([[1.0, 2.0, 3.0, 0.0], [1.0, 0.0, 5.0, 7.0]])
    assert sheet.gram.tolist() == (vectors.T @ vectors).tolist()


def test_a_row_keeps_the_newest_versions():
    row = Outcomes()
    for version in range(100):
        change(row, Outcome(version, "x", version, "a", ("lists",), (), (1.0, 1.0)))
    assert sorted(row.sheets) == [(version, "a") for version in range(100 - SHEETS, 100)]


@pytest.mark.parametrize(
    "vectors", [((1.0,), ()), ((), (1.0, 2.0, 3.0)), ((), (1.0, float("nan"))), ((1.0, float("inf")), ())]
)
def test_numbers_that_are_not_those_of_the_measures_are_none(vectors):
    with pytest.raises(ValueError, match="numbers of 1 measures"):
        Outcome(0, "x", 1, "a", ("lists",), *vectors)
