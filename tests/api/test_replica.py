"""The replica without a broker: records go in by hand, and what comes out is what their rows say."""

import asyncio
import time
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api.columns import CATEGORIES, Columns
from api.follower import followed
from api.outcomes import sheets
from api.replica import Replica
from api.rows import AWAY_MS, Rows
from api.tables import CHUNKS
from models import popular, stack
from models.content import terms
from models.decay import DAY, current, growth
from models.items import CHOICES, VALUE, WINDOWS, ItemRow, list_item
from models.learned import COMMON, Learned
from models.learner import Learner
from models.marks import source
from models.outcomes import Outcomes, change
from models.popular import Popular, choose
from models.users import User
from streams.changelog import NOTE, Note, encode, headers
from streams.errors import SettingsError, StateError
from streams.examples import Choice
from streams.items import Item
from streams.settings import Settings
from streams.touches import Outcome, origin_of

NOW = 1_700_000_000_000
D = 16


class Said(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple = ()


def records(rows, first=0):
    return [Said(n, key.encode(), row) for n, (key, row) in enumerate(rows, first)]


@pytest.fixture
def settings(tmp_path):
    return Settings(data=tmp_path, partitions=4, dimensions=D)


@pytest.fixture
def replica(settings):
    replica = opened(settings)
    yield replica
    replica.close()


def opened(settings):
    replica = Replica(settings)
    asyncio.run(replica.load())
    return replica


def an_item(seed, choices=5, *, listed=True):
    rng = np.random.default_rng(seed)
    item = ItemRow()
    if listed:
        names = tuple(f"c{n}" for n in rng.integers(0, 9, rng.integers(0, 7)))
        list_item(item, Item(categories=names, published_at=NOW, available=bool(seed % 3), boost=1.5))
    if choices:
        item.first_at, item.last_at, item.chosen = NOW, NOW + int(rng.integers(DAY)), choices
        item.examined, item.answered = float(rng.exponential(9)), int(rng.integers(choices + 1))
        item.windows = [[NOW // span, *rng.integers(0, 9, 6).tolist()] for span in WINDOWS]
    return item


def a_user(trail, offset=0):
    return User(marks={source(0, 0, 1): origin_of(offset, 3)}, trail=trail)


def popular_row(choices):
    row = Popular()
    for item, weight, at in choices:
        choose(row, item, weight * growth(at, popular.HALF_LIFE))
    return row


def check_column(columns, slot, row):
    """Assert that a slot says what its row says."""
    said = row.catalogue or {"available": False}
    assert columns.listed[slot] == (row.catalogue is not None)
    assert columns.available[slot] == said.get("available", True)
    assert columns.boost[slot] == np.float32(said.get("boost", 1.0))
    names = [columns.category_names[code] for code in columns.categories[slot] if code >= 0]
    assert names == list(dict.fromkeys(said.get("categories", ())))[:CATEGORIES]
    for field in ("published_at", "first_at", "last_at"):
        expected = said.get(field) if field == "published_at" else getattr(row, field)
        assert np.array_equal(getattr(columns, field)[slot], expected or np.nan, equal_nan=True)
    assert columns.chosen[slot] == row.chosen
    assert columns.examined[slot] == np.float32(row.examined)
    assert 0 < columns.ctr[slot] < 1 or row.answered
    for n, window in enumerate(row.windows):
        assert columns.tiles[slot, n] == window[0]
        assert columns.choices[slot, n].tolist() == [window[1 + CHOICES], window[4 + CHOICES]]
        assert columns.values[slot, n].tolist() == [window[1 + VALUE], window[4 + VALUE]]
    own = columns.terms[slot]
    assert tuple(own[own != 0].tolist()) == terms(
        said.get("title", ""), (), tuple(said.get("categories", ()))
    )
    assert columns.described[slot] == own.any()


row_of_an_item = st.builds(an_item, st.integers(0, 50), st.integers(0, 20), listed=st.booleans())


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | row_of_an_item), max_size=12), st.integers(1, 5)
)
def test_columns_equal_the_last_rows_however_they_came(history, size):
    columns, last = Columns(capacity=1), {}
    for first in range(0, len(history), size):
        changed = dict(history[first : first + size])
        columns.put_all([(item, row) for item, row in changed.items() if row is not None])
        for item in (item for item, row in changed.items() if row is None):
            columns.drop(item)
        last |= changed
    for item, row in last.items():
        if item in columns.slot_of:
            check_column(columns, columns.slot_of[item], row or ItemRow())


def test_what_was_applied_is_read(replica):
    changed = []
    replica.on_user_change.append(changed.append)
    item = an_item(1)
    replica.apply("items", 0, records([("i1", item.row()), ("i2", an_item(2).row())]))
    replica.apply("users", 1, records([("u1", a_user(["i1"]).row())]))
    assert replica.user("u1").trail == ["i1"]
    assert replica.user("u1") is replica.user("u1")
    assert replica.user("nobody") is None
    assert replica.item("i1").row() == item.row()
    check_column(replica.columns, replica.columns.slot_of["i1"], item)
    replica.apply("users", 1, records([("u1", a_user(["i2"]).row()), ("u1", a_user(["i3"]).row())], 1))
    assert replica.user("u1").trail == ["i3"]
    replica.apply("users", 1, records([("u1", None)], 3))
    assert replica.user("u1") is None
    assert changed == ["u1"] * 3
    others = {"popular": {}, "outcomes": {}, "learned": {}}
    assert replica.offsets == {"users": {1: 3}, "items": {0: 1}, **others}


def test_outcomes_are_merged_over_the_partitions_that_each_have_their_users(replica):
    def row(*lists):
        made = Outcomes()
        for n, count in enumerate(lists):
            change(made, Outcome(n, "x", 1, "ab"[n % 2], ("lists",), (), (1.0, float(count))))
        return made.row()

    assert sheets(replica.outcomes("x")) == {}
    replica.apply("outcomes", 0, records([("x", row(2, 5)), ("y", row(9))]))
    replica.apply("outcomes", 3, records([("x", row(4))]))
    found = {arm: sheet.gram.tolist() for arm, sheet in sheets(replica.outcomes("x")).items()}
    assert found == {(1, "a"): [[2, 6], [6, 20]], (1, "b"): [[1, 5], [5, 25]]}
    replica.apply("outcomes", 0, records([("x", None)], 2))
    assert list(sheets(replica.outcomes("x"))) == [(1, "a")]


def test_a_deleted_item_is_forgotten_but_keeps_its_slot(replica):
    replica.apply("items", 0, records([("i1", an_item(1).row())]))
    slot, told = replica.columns.slot_of["i1"], []
    replica.on_item_change.append(lambda slots: told.extend(slots.tolist()))
    replica.apply("items", 0, records([("i1", None), ("never", None)], 1))
    assert replica.item("i1") is None
    check_column(replica.columns, slot, ItemRow())
    assert replica.columns.slot_of["i1"] == slot
    assert told == [slot]


def test_a_restart_goes_on_from_the_disk(settings):
    first = opened(settings)
    rows = {f"i{n}": an_item(n) for n in range(3 * CHUNKS["items"] // 2)}
    first.apply("items", 2, records([(item, row.row()) for item, row in rows.items()], 5))
    first.apply("users", 1, records([("u", a_user(["i1"]).row())]))
    first.apply("popular", 3, records([("all", popular_row([("i7", 2.0, NOW)]).row())]))
    first.close()
    second = opened(settings)
    for item, row in rows.items():
        check_column(second.columns, second.columns.slot_of[item], row)
    assert second.user("u").trail == ["i1"]
    assert second.contexts() == ["all"]
    assert second.popular("all", NOW)[0].tolist() == [second.columns.slot_of["i7"]]
    assert second.offsets == first.offsets
    spans = {(table, n): (0, 1000) for table in ("users", "items", "popular") for n in range(4)}
    wanted = second.resume(spans)
    assert wanted["items", 2] == 5 + len(rows)
    assert (wanted["users", 1], wanted["popular", 3], wanted["users", 0]) == (1, 1, 0)
    second.close()


@pytest.mark.parametrize(
    ("span", "kept"), [((0, 10), True), ((3, 4), True), ((0, 3), False), ((5, 9), False)]
)
def test_an_offset_outside_the_changelog_wipes_its_table_only(replica, caplog, span, kept):
    replica.apply("items", 0, records([("i1", an_item(1).row())], 3))
    replica.apply("users", 0, records([("u", a_user([]).row())], 3))
    spans = {(table, n): (0, 9) for table in ("users", "items", "popular") for n in range(4)}
    wanted = replica.resume(spans | {("items", 0): span})
    assert (replica.item("i1") is not None) == kept
    assert replica.columns.listed.any() == kept
    assert replica.user("u") is not None
    assert wanted["items", 0] == (4 if kept else span[0])
    assert wanted["users", 0] == 4
    assert ("wiped and read again: partition 0 was read up to 3" in caplog.text) != kept


@pytest.mark.parametrize("change", [{"epoch": 1}, {"namespace": "other"}, {"api_partitions": "0-2"}])
def test_rows_of_another_meaning_are_wiped(settings, change, caplog):
    first = opened(settings)
    first.apply("users", 0, records([("u", a_user([]).row())]))
    first.close()
    values = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
    second = opened(Settings(**(values | change)))
    assert second.user("u") is None
    assert second.offsets["users"] == {}
    assert "expected" in caplog.text
    second.close()


def test_rows_of_a_worker_that_was_replaced_are_void_even_after_a_restart(settings):
    replica = opened(settings)
    said = [
        Said(0, NOTE, encode(Note())),
        Said(1, b"u", User(last_at=1).row(), headers(0)),
        Said(2, NOTE, encode(Note())),
        Said(3, b"u", User(last_at=2).row(), headers(2)),
        Said(4, b"u", User(last_at=3).row(), headers(0)),
    ]
    replica.apply("users", 0, said)
    assert replica.user("u").last_at == 2
    replica.close()
    replica = opened(settings)
    replica.apply("users", 0, [Said(5, b"u", User(last_at=4).row(), headers(0))])
    assert replica.user("u").last_at == 2
    replica.apply("users", 0, [Said(6, b"u", User(last_at=5).row(), headers(2))])
    assert replica.user("u").last_at == 5
    replica.close()


def test_a_table_that_missed_deletions_is_wiped(tmp_path):
    rows = Rows(tmp_path / "t.db", "x")
    rows.put(0, {b"k": b"v"}, 7, Note())
    now = int(time.time() * 1000)
    assert not rows.distrusted({0: (0, 8)}, now)
    assert "deletions" in rows.distrusted({0: (0, 8)}, now + AWAY_MS + 60_000)
    rows.mark_fresh(now + AWAY_MS)
    assert not rows.distrusted({0: (0, 8)}, now + AWAY_MS + 60_000)
    rows.close()


def test_two_processes_of_one_name_are_told(replica, settings):
    with pytest.raises(StateError, match="REFOLD_API_NAME"):
        opened(settings)


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST"])
def test_a_disk_that_cannot_be_opened_is_wiped(settings, tmp_path, name, caplog):
    first = opened(settings)
    first.apply("items", 0, records([("i1", an_item(1).row())]))
    first.close()
    for path in (tmp_path / "api-0" / "items.db").glob(name + "*"):
        path.write_bytes(b"garbage" * 10)
    second = opened(settings)
    assert second.item("i1") is None
    assert second.offsets["items"] == {}
    assert "broken" in caplog.text
    second.close()


@pytest.mark.parametrize("part", [0, 0.5])
def test_a_row_that_cannot_be_read_leads_to_a_wipe_and_never_to_an_error(settings, tmp_path, part):
    first = opened(settings)
    many = [(f"i{n}", an_item(n).row()) for n in range(200)]
    first.apply("items", 0, records(many))
    first.close()
    opened(settings).close()  # moves the rows from the log into a table file
    for path in (tmp_path / "api-0" / "items.db").glob("*.sst"):
        data = bytearray(path.read_bytes())
        first = int(part * len(data))
        data[first : first + 4000] = b"x" * 4000
        path.write_bytes(data)
    second = opened(settings)
    lost = [item for item, _ in many if second.item(item) is None]
    assert lost
    if part:
        with pytest.raises(StateError, match="cannot be read"):
            asyncio.run(second.take("items", 0, records(many, 200)))
    spans = {(table, n): (0, 500) for table in ("users", "items", "popular") for n in range(4)}
    assert second.resume(spans)["items", 0] == 0
    asyncio.run(second.take("items", 0, records(many)))
    assert all(second.item(item) is not None for item, _ in many)
    second.close()


def test_a_row_of_another_version_is_left_out_and_counted(replica, caplog):
    good = an_item(1)
    newer = bytearray(good.row())
    newer[1] = 99  # the version, first of the fields
    replica.apply("items", 0, records([("i1", good.row())]))
    replica.apply("items", 0, records([("i1", bytes(newer)), ("i2", an_item(2).row())], 1))
    replica.apply("users", 0, records([("u", b"\x91\x63")]))
    assert replica.user("u") is None
    assert replica.refused == {"items": 1, "users": 1}
    assert "version 99" in caplog.text
    check_column(replica.columns, replica.columns.slot_of["i1"], good)
    assert replica.columns.listed[replica.columns.slot_of["i2"]]


counts = st.lists(
    st.tuples(st.integers(0, 8), st.floats(0.5, 9.0), st.integers(0, 20)).map(
        lambda t: (f"i{t[0]}", t[1], NOW + t[2] * DAY)
    ),
    max_size=30,
)


@hypothesis_settings(deadline=None, max_examples=40)
@given(counts, counts)
def test_popular_is_the_decayed_sum_over_partitions(tmp_path_factory, mine, others):
    replica = opened(Settings(data=tmp_path_factory.mktemp("r"), partitions=2, dimensions=D))
    theirs = [(f"j{item}", weight, at) for item, weight, at in others]
    for partition, said in enumerate((mine, theirs)):
        replica.apply("popular", partition, records([("all", popular_row(said).row())]))
    now = NOW + 21 * DAY
    expected = {
        item: current(total, now, popular.HALF_LIFE)
        for said in (mine, theirs)
        for item, total in popular_row(said).items.items()
    }
    slots, values = replica.popular("all", now)
    found = dict(zip([replica.columns.ids[slot] for slot in slots], values.tolist(), strict=True))
    assert found == pytest.approx(expected, rel=1e-4)
    assert values.tolist() == sorted(values.tolist(), reverse=True)
    replica.close()


def test_popular_lists_change_with_their_rows(replica):
    assert replica.popular("all", NOW)[0].tolist() == []
    replica.apply("popular", 0, records([("all", popular_row([("a", 1.0, NOW)]).row())]))
    replica.apply("popular", 1, records([("all", popular_row([("b", 2.0, NOW)]).row())]))
    slot_of = replica.columns.slot_of
    assert replica.popular("all", NOW)[0].tolist() == [slot_of["b"], slot_of["a"]]
    replica.apply("popular", 0, records([("all", popular_row([("a", 5.0, NOW)]).row())], 1))
    slots, values = replica.popular("all", NOW + popular.HALF_LIFE)
    assert (slots[0], values.tolist()) == (slot_of["a"], pytest.approx([2.5, 1.0]))
    assert np.isfinite(replica.popular("all", 0)[1]).all()
    replica.apply("popular", 0, records([("all", None)], 2))
    assert replica.popular("all", NOW)[0].tolist() == [slot_of["b"]]
    assert replica.contexts() == ["all"]
    replica.apply("popular", 1, records([("all", None)], 1))
    assert replica.contexts() == []


def a_learner(seed, trails=30):
    learner, rng = Learner(Learned(D)), np.random.default_rng(seed)
    for n in range(trails):
        item, *after = (f"i{k}" for k in rng.permutation(9)[:4])
        learner.learn(Choice(n, item, tuple(after), NOW + n, 1.0))
    return learner.learned


def flush(learned, first=0, owner=0):
    """Return the records of a flush that holds everything, its note last."""
    rows = [(key, learned.row(slot)) for key, slot in learned.slot_of.items()]
    rows.append((COMMON, learned.common.row()))
    said = [Said(n, key.encode(), row, headers(owner)) for n, (key, row) in enumerate(rows, first)]
    return [*said, Said(first + len(rows), NOTE, encode(Note(owner, {"examples": 9})), headers(owner))]


def as_learned(lore, learned):
    """Assert that a replica's lore says of every trail what the learner itself would."""
    after, own = lore.after(["i1", "i2"]), learned.slots(("i1", "i2"))
    items = sorted(learned.slot_of)
    theirs = stack.signals(learned, own, np.array([learned.slot_of[item] for item in items], np.int32))
    columns = np.array([lore._columns.slot_of[item] for item in items])
    assert np.array_equal(lore.signals(after, columns), theirs)
    assert np.array_equal(lore.relevance(theirs, after), stack.relevance(learned, theirs, 2))
    near, strengths = stack.neighbours(learned, own, 99)
    found, same = lore.related(after, 99)
    assert [lore._columns.ids[slot] for slot in found] == [learned.keys[slot] for slot in near]
    assert np.array_equal(strengths, same)
    assert np.array_equal(lore.query(after), stack.query(learned, own))


def test_what_is_learned_is_taken_over_in_whole_flushes(settings, replica):
    learned, told = a_learner(1), []
    replica.on_item_change.append(lambda slots: told.extend(slots.tolist()))
    said = flush(learned)
    replica.apply("learned", 0, said[:5])
    assert not len(replica.lore.after(["i1", "i2"]))
    assert replica.offsets["learned"] == {}
    replica.apply("learned", 0, said[5:])
    assert replica.offsets["learned"] == {0: len(said) - 1}
    as_learned(replica.lore, learned)
    assert sorted(told) == sorted(replica.columns.slot_of[item] for item in learned.slot_of)
    torn = flush(a_learner(2), len(said))[:5]
    replica.apply("learned", 0, torn)
    as_learned(replica.lore, learned)
    replica.close()
    again = opened(settings)
    as_learned(again.lore, learned)
    assert again.resume({("learned", 0): (0, 99)})["learned", 0] == len(said)
    again.apply("learned", 0, torn)
    as_learned(again.lore, learned)
    again.close()
    replica._rows.clear()  # closed already


def test_a_row_of_what_is_learned_that_cannot_be_read_is_left_out(replica, caplog):
    learned = a_learner(1)
    said = flush(learned)
    bad = said[2]._replace(value=b"\x91\x63")
    replica.apply("learned", 0, [*said[:2], bad, *said[3:]])
    assert replica.refused == {"learned": 1}
    assert "version 99" in caplog.text
    assert bad.key.decode() not in replica.lore.learned.slot_of
    assert len(replica.lore.learned) == len(learned) - 1


def test_what_is_learned_can_be_wiped_alone(replica):
    replica.apply("items", 0, records([("i1", an_item(1).row())]))
    replica.apply("learned", 0, flush(a_learner(1)))
    replica.resume({("items", 0): (0, 1), ("learned", 0): (50, 99)})
    assert not len(replica.lore.learned)
    assert replica.item("i1") is not None


def test_the_offset_of_a_user_is_that_of_the_newest_epoch_of_events(replica):
    user = User(
        marks={source(0, 0, 1): origin_of(500, 0), source(0, 1, 1): origin_of(7, 2), source(1, 1, 1): 9}
    )
    assert replica.user_offset(user) == 7
    assert replica.user_offset(User()) == -1


@pytest.mark.parametrize("value", ["x", "-1", "1-x", "3-9", "1,,a"])
def test_impossible_partitions_are_refused(value):
    with pytest.raises(SettingsError, match="REFOLD_API_PARTITIONS"):
        followed(Settings(partitions=4, api_partitions=value), "users")


def test_the_loop_turns_while_much_is_taken_over(replica):
    many = records([(f"i{n}", an_item(n % 50, 20).row()) for n in range(2000)])
    turns = []

    async def tick():
        while True:
            turns.append(time.perf_counter())
            await asyncio.sleep(0)

    async def main():
        ticking = asyncio.create_task(tick())
        await replica.take("items", 0, many)
        ticking.cancel()

    asyncio.run(main())
    waits = np.diff(turns)
    assert len(waits) >= 2000 // CHUNKS["items"]
    assert np.median(waits[waits > 1e-4]) < 0.01  # 2 ms on a free core


def test_it_starts_and_answers_without_a_broker(settings):
    first = opened(settings)
    first.apply("users", 0, records([("u", a_user(["i"]).row())]))
    first.close()

    async def main():
        replica = Replica(Settings(data=settings.data, partitions=4, dimensions=D, kafka="127.0.0.1:1"))
        await replica.start()
        await asyncio.sleep(0.3)
        assert replica.user("u").trail == ["i"]
        assert not replica.ready
        assert not replica.connected
        assert replica.trouble
        assert replica.lag() == 0
        assert 0 <= replica.staleness_ms() < 60_000
        await replica.stop()

    asyncio.run(main())
