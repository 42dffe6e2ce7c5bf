"""A row holds what was known just before its choice: nothing that comes later changes a byte of it."""

import random

import numpy as np
import pytest

from models.actions import DEFAULTS
from models.evaluation import MISS
from models.features import COLUMN, NAMES
from models.surfaces import load
from ops.train.history import History, Said
from ops.train.moments import parts_of
from ops.train.rows import DRAWN, TOP, Rows, gather, sampled
from ops.train.scene import Scene
from streams.events import Event
from streams.items import Item

START = 1_750_000_000_000
WEEK = 7 * 86_400_000
HOME = load().surfaces["home"]


def told(count, shift=0, items=40, users=12):
    """A catalogue, then clicks of users who like what is near what they liked."""
    draw = random.Random(5)
    said = [
        Said(
            START + shift, item=f"i{n}", catalogue=Item(categories=(f"k{n % 4}",), published_at=START + shift)
        )
        for n in range(items)
    ]
    for n in range(count):
        user = draw.randrange(users)
        item = (user * 3 + int(draw.paretovariate(0.8))) % items
        at = START + shift + 60_000 * (n + 1)
        event = Event(
            event_id=str(n), type="click", at=at, user_id=f"u{user}", item_id=f"i{item}",
            categories=(f"k{item % 4}",), surface="home", position=n % 5,
        )  # fmt: skip
        said.append(Said(at, event, wanted=True))
    return said


def rows_of(said, part=lambda _: "test"):
    return gather(History(lambda: iter(said), {}), Scene(DEFAULTS, 16), HOME, part, 1, lambda _: None)


def early(number):
    return "test" if number < 180 else None


@pytest.fixture(scope="module")
def rows():
    return rows_of(told(140), early)["test"]


def same(one, other):
    return all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in ("matrix", "slots", "sizes", "chosen", "popular", "earlier", "before", "candidates", "at")
    )


def test_rows_are_there_and_tell_candidates_apart(rows):
    assert len(rows) > 30
    assert (rows.chosen >= 0).mean() > 0.5
    assert np.isfinite(rows.matrix).all()
    assert rows.matrix.shape == (rows.sizes.sum(), len(NAMES))
    for name in ("relevance", "chosen", "popular_day", "affinity", "freshness"):
        assert rows.matrix[:, COLUMN[name]].std() > 0, name


def test_what_comes_later_changes_no_byte(rows):
    assert same(rows, rows_of(told(260), early)["test"])


def test_a_later_clock_changes_no_byte(rows):
    said = told(260)
    later = [
        one if n < 180 else one._replace(at=one.at + WEEK) for n, one in enumerate(said)
    ]  # the same things, said a week later

    assert same(rows, rows_of(later, early)["test"])


def test_a_shifted_clock_says_the_same(rows):
    shifted = rows_of(told(140, shift=4 * WEEK), early)["test"]

    assert (shifted.slots == rows.slots).all()
    assert (shifted.at == rows.at + 4 * WEEK).all()
    assert np.abs(shifted.matrix - rows.matrix).max() < 1e-3


def test_a_choice_is_not_in_its_own_rows():
    said = told(140)
    at = said[-1].at + 60_000
    fresh = Said(at, item="i99", catalogue=Item(categories=("k1",), published_at=at))
    event = Event(event_id="last", type="click", at=at, user_id="u1", item_id="i99", surface="home")
    last = len(said) + 1

    found = rows_of(
        [*said, fresh, Said(at, event, wanted=True)], lambda number: "test" if number == last else None
    )
    rows = found["test"]

    assert len(rows) == 1
    assert rows.before[0] == 0
    assert rows.matrix[rows.chosen[0], COLUMN["popular_all"]] == 0.0


def test_an_item_chosen_before_and_a_first_choice_are_not_looked_at():
    said = [one for one in told(140) if one.event is None or one.event.user_id == "u1"]
    discoveries = {one.event.item_id for one in said if one.event is not None}

    assert len(rows_of(said)["test"]) == len(discoveries) - 1


def test_what_is_trained_on_is_a_sample_with_the_choice_in_it():
    found = rows_of(told(200), lambda _: "train")["train"]

    assert (found.chosen >= 0).all()
    assert found.labels.sum() == len(found)


def test_a_sample_stands_for_everybody():
    relevance = np.random.default_rng(0).normal(size=500).astype(np.float32)
    target = int(np.argsort(relevance)[3])

    places, drawn = sampled(relevance, target, np.random.default_rng(1))

    assert len(places) == len(set(places.tolist())) == TOP + 1 + DRAWN
    assert set(np.argsort(-relevance)[:TOP]) <= set(places.tolist())
    assert drawn[places == target] == 0.0
    assert np.exp(drawn.astype(np.float64)).sum() == pytest.approx(500, rel=1e-4)
    again = sampled(relevance, target, np.random.default_rng(1))
    assert (again[0] == places).all()


def test_few_candidates_are_all_taken():
    places, drawn = sampled(np.arange(5, dtype=np.float32), 2, np.random.default_rng(1))

    assert sorted(places.tolist()) == [0, 1, 2, 3, 4]
    assert (drawn == 0.0).all()


def test_parts_follow_each_other_and_are_about_as_large_as_wanted():
    part = parts_of(10_000, {"train": (0.2, 0.7, 500), "test": (0.7, 1.0, 5_000)})
    named = [part(number) for number in range(10_000)]

    assert named[:2_000] == [None] * 2_000
    assert 400 < named.count("train") < 600
    assert set(named[7_000:]) == {"test"}
    assert named == [part(number) for number in range(10_000)]


def test_ties_count_against_the_choice_and_a_miss_is_one():
    rows = Rows(
        np.zeros((5, len(NAMES)), np.float32), np.arange(5, dtype=np.int32), np.zeros(5, np.float32),
        sizes=np.int32([3, 2]), chosen=np.int32([1, -1]), popular=np.int32([1, 1]), earlier=np.int32([1, 1]),
        before=np.int32([1, 1]), candidates=np.int32([3, 2]), at=np.int64([1, 2]),
    )  # fmt: skip

    assert rows.judged(np.array([2.0, 2.0, 1.0, 5.0, 4.0])).rank.tolist() == [2, MISS]
    assert rows.judged(np.array([2.0, np.nan, 1.0, 5.0, 4.0])).rank.tolist() == [3, MISS]
    assert rows.shown(np.array([2.0, 3.0, 1.0, 5.0, 4.0]), 1).tolist() == [0, 1, 0, 1, 0]
