"""What the agents make of a record: who is told what, and what is refused before anything changed."""

import random

import msgpack
import numpy as np
import pytest

from agents.fake import Message, Rows
from agents.items import ItemAgent
from agents.table import Table
from agents.users import MOST_BYTES, MOST_SAID, UserAgent
from models.actions import DEFAULTS
from models.items import ItemRow
from models.outcomes import Outcomes
from models.popular import Popular
from models.users import User
from streams import events, examples, items, profiles, touches
from streams.errors import Refused
from streams.events import Event
from streams.examples import Choice
from streams.exposures import Exposure
from streams.items import Item
from streams.partition import partition_of
from streams.profiles import Profile
from streams.settings import Settings
from streams.touches import Outcome, Touch

SETTINGS = Settings(partitions=2)
AT = 1_700_000_000_000


def user_agent(settings=SETTINGS):
    table = Table("users", Rows(), User, User.from_row)
    return UserAgent(settings, table, DEFAULTS), table


def item_agent(settings=SETTINGS):
    tables = (
        Table("items", Rows(), ItemRow, ItemRow.from_row),
        Table("popular", Rows(), Popular, Popular.from_row),
        Table("outcomes", Rows(), Outcomes, Outcomes.from_row),
    )
    return ItemAgent(settings, *tables), *tables


def click(n, user="u", item="i", **more):
    return Event(event_id=f"e{n}", type="click", at=AT + n, user_id=user, item_id=item, **more)


def record(*said, offset=0, partition=None):
    number = partition_of(said[0].user, SETTINGS.partitions) if partition is None else partition
    return Message("events", number, offset, b"k", events.encode(said), AT / 1000)


def test_items_are_told_what_was_done_and_the_learner_what_was_chosen_after_what():
    settings = Settings(partitions=2, shards=2)
    agent, _ = user_agent(settings)
    agent.fold_events(record(click(1, item="a"), click(2, item="b", surface="home"), click(3, item="b")))
    touched, learned, number = {}, [], partition_of("u", 2)
    for topic, target, records in agent.take():
        for _, value in records:
            batch = {"touches": touches, "examples": examples}[topic].decode(value)
            assert (batch.epoch, batch.partition) == (0, number)
            if topic == "examples":
                assert target == number % 2
                learned += batch.said
            else:
                assert {partition_of(each.item, 2) for each in batch.said} == {target}
                touched |= {each.origin: each for each in batch.said}
    assert [(touched[n].item, touched[n].contexts) for n in range(3)] == [
        ("a", ("all",)),
        ("b", ("all", "surface:home")),
        ("b", ("all",)),
    ]
    assert learned == [Choice(0, "a", (), AT + 1, 1.0), Choice(1, "b", ("a",), AT + 2, 1.0, known=1)]
    assert list(agent.take()) == []


def test_partitions_of_events_share_the_shards():
    settings = Settings(partitions=5, shards=2)
    agent, _ = user_agent(settings)
    for number in range(5):
        user = next(f"u{n}" for n in range(99) if partition_of(f"u{n}", 5) == number)
        agent.fold_events(record(click(1, user=user), partition=number))
    said = {target: records for topic, target, records in agent.take() if topic == "examples"}
    assert {target: [examples.decode(value).partition for _, value in said[target]] for target in said} == {
        0: [0, 2, 4],
        1: [1, 3],
    }


def test_a_record_that_was_folded_says_nothing_again():
    agent, table = user_agent()
    agent.fold_events(record(click(1), click(2, item="j"), offset=5))
    list(agent.take())
    partition = table.partition(partition_of("u", 2))
    before = partition.get("u").row()
    partition.freeze()
    partition.store(0)
    agent.fold_events(record(click(1), click(2, item="j"), offset=5))
    assert list(agent.take()) == []
    assert table.dirty() == []
    assert partition.get("u").row() == before


def test_a_client_that_sends_twice_is_counted_once():
    agent, table = user_agent()
    agent.fold_events(record(click(1), offset=5))
    agent.fold_events(record(click(1), offset=6))
    assert table.partition(partition_of("u", 2)).get("u").totals == {"click": 1}


def test_a_batch_in_the_wrong_partition_is_refused_whole():
    agent, table = user_agent()
    number = partition_of("u", 2)
    other = next(f"v{n}" for n in range(9) if partition_of(f"v{n}", 2) != number)
    with pytest.raises(Refused, match=f"user '{other}' does not belong to partition {number} of 2"):
        agent.fold_events(record(click(1), click(2, user=other), partition=number))
    assert table.dirty() == []
    assert list(agent.take()) == []


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (None, "a key has 1..256 bytes, this one 0"),
        (b"", "a key has 1..256 bytes, this one 0"),
        (b"k" * 257, "this one 257"),
        (b"\xff", "is not UTF-8"),
        (b"u", r"key 'u' does not belong to partition \d of 2"),
    ],
)
@pytest.mark.parametrize("tombstone", [True, False])
def test_a_profile_or_item_whose_key_is_no_id_of_its_partition_is_refused(key, reason, tombstone):
    wrong = 1 - partition_of("u", 2)
    agent, table = user_agent()
    with pytest.raises(Refused, match=reason):
        agent.fold_profiles(
            Message("profiles", wrong, 0, key, None if tombstone else profiles.encode(Profile()))
        )
    agent, rows, *_ = item_agent()
    with pytest.raises(Refused, match=reason):
        agent.fold_catalogue(Message("items", wrong, 0, key, None if tombstone else items.encode(Item())))
    assert table.dirty() == rows.dirty() == []


def test_a_tombstone_becomes_an_erasure_among_the_users_events():
    agent, table = user_agent()
    number = partition_of("u", 2)
    agent.fold_events(record(click(1)))
    agent.fold_profiles(Message("profiles", number, 0, b"u", profiles.encode(Profile(attributes={"a": 1.0}))))
    list(agent.take())
    agent.fold_profiles(Message("profiles", number, 1, b"u", None))
    ((topic, target, ((key, value),)),) = agent.take()
    assert (topic, target, key) == ("events", number, b"u")
    agent.fold_events(Message("events", number, 1, key, value, AT / 1000))
    user = table.partition(number).get("u")
    assert user == User(marks=user.marks, ids=user.ids, erased_at=user.erased_at, tally=[2, 0, 0])
    assert len(user.marks) == 2
    assert list(agent.take()) == []


def test_an_erasure_said_again_when_the_log_is_folded_anew_spares_what_came_after_it():
    agent, table = user_agent()
    number = partition_of("u", 2)
    erase = Event(event_id="erase-0-0-7", type="erase", at=AT, user_id="u")
    batches = [[erase], [click(n) for n in range(1, 71)], [erase]]
    for offset, batch in enumerate(batches):
        agent.fold_events(Message("events", number, offset, b"u", events.encode(batch), AT / 1000))
    assert sum(table.partition(number).get("u").totals.values()) == 70


@pytest.mark.parametrize("stamp", [0.0, -0.001, AT / 1000])
def test_an_erasure_is_a_good_event_whatever_time_its_tombstone_claims(stamp):
    agent, _ = user_agent()
    agent.fold_profiles(Message("profiles", partition_of("u", 2), 7, b"u", None, stamp))
    ((_, _, ((_, value),)),) = agent.take()
    (erase,) = events.decode(value, AT)
    assert (erase.type, erase.user) == ("erase", "u")


def test_a_profile_written_after_its_erasure_stays_in_whatever_order_the_two_topics_are_read():
    number = partition_of("u", 2)
    new = Message("profiles", number, 1, b"u", profiles.encode(Profile(attributes={"a": 2.0})))
    rows = set()
    for profile_first in (True, False):
        agent, table = user_agent()
        agent.fold_profiles(Message("profiles", number, 0, b"u", None))
        ((_, _, ((key, value),)),) = agent.take()
        erase = Message("events", number, 0, key, value, AT / 1000)
        for fold in (agent.fold_profiles, agent.fold_events)[:: 1 if profile_first else -1]:
            fold(new if fold == agent.fold_profiles else erase)
        user = table.partition(number).get("u")
        assert user.profile == {"a": 2.0}
        rows.add(user.row())
    assert len(rows) == 1


def test_large_things_to_say_are_cut_into_records_that_a_broker_takes():
    settings = Settings(partitions=1)
    agent, _ = user_agent(settings)
    long = tuple(f"{n}".rjust(250, "x") for n in range(8))
    said = [
        click(n, user=f"u{n % 9}", item=f"{n}".rjust(250, "x"), categories=long, surface="home")
        for n in range(500)
    ]
    agent.fold_events(Message("events", 0, 0, None, events.encode(said), AT / 1000))
    for topic, _, records in agent.take():
        decode = {"touches": touches.decode, "examples": examples.decode}[topic]
        assert len(records) > 1
        assert all(len(value) <= MOST_BYTES for _, value in records)
        assert [each.origin for _, value in records for each in decode(value).said] == list(range(500))


def test_no_record_of_examples_keeps_its_reader_from_other_work_for_long():
    settings = Settings(partitions=1)
    agent, _ = user_agent(settings)
    said = [
        [click(n, user=f"u{n % 9}", item=f"i{n}") for n in range(first, first + 500)] for first in (0, 500)
    ]
    for offset, batch in enumerate(said):
        agent.fold_events(Message("events", 0, offset, None, events.encode(batch), AT / 1000))
    records = [value for topic, _, told in agent.take() if topic == "examples" for _, value in told]
    counts = [len(examples.decode(value).said) for value in records]
    assert sum(counts) == 1000
    assert max(counts) <= MOST_SAID


def touch(origin, item="i"):
    return Touch(origin, item, "click", AT + origin, 1.0, 0, "home", ("all", "category:a"))


def told(*said, partition=0, epoch=0, offset=0):
    return Message("touches", 0, offset, None, touches.encode(epoch, partition, list(said)))


def test_what_was_said_twice_is_folded_once_and_origins_do_not_hide_each_other():
    agent, rows, lists, _ = item_agent()
    for message in (
        told(touch(5)),
        told(touch(5), touch(6)),
        told(touch(3), partition=1),
        told(touch(0), epoch=1),
    ):
        agent.fold_touches(message)
    assert rows.partition(0).get("i").chosen == 4
    assert set(lists.partition(0).get("all").items) == {"i"}
    assert len(lists.partition(0).get("all").marks) == 3


def test_a_list_counts_a_touch_that_its_item_knows_already():
    """A crash may keep the item's row and lose the list's; the touch comes again, and only the list takes it."""
    agent, rows, lists, _ = item_agent()
    agent.fold_touches(told(touch(5)))
    before = rows.partition(0).get("i").row()
    lists.forget()
    agent.fold_touches(told(touch(5)))
    assert rows.partition(0).get("i").row() == before
    assert list(lists.partition(0).get("all").items) == ["i"]


def exposure(n, user="u", arm="a"):
    shown = (Exposure("x", 1, arm, ("lists", "click", "pre.click")),)
    return Event(event_id=f"x{n}", type="exposure", at=AT, user_id=user, value=20.0, exposures=shown)


def test_trials_are_told_to_the_partition_of_the_user_and_folded_once():
    agent, _ = user_agent()
    number = partition_of("u", 2)
    agent.fold_events(record(click(0), exposure(1), click(2), exposure(3)))
    told = {target: records for topic, target, records in agent.take() if topic == "touches"}
    receiver, *_, outcomes = item_agent()
    for _ in range(2):
        for offset, (_, value) in enumerate(told[number]):
            receiver.fold_touches(Message("touches", number, offset, None, value))
    row = outcomes.partition(number).get("x")
    vector = np.array([1.0, 2.0, 1.0, 1.0])
    assert row.sheets[1, "a"].gram.tolist() == np.outer(vector, vector).tolist()
    assert row.marks == {1 << 32 | number: 3}


def test_a_fold_that_does_not_speak_keeps_the_same_trials():
    rows = set()
    for speaks in (True, False):
        table = Table("users", Rows(), User, User.from_row)
        agent = UserAgent(SETTINGS, table, DEFAULTS, speaks=speaks)
        agent.fold_events(record(click(0), exposure(1), click(2)))
        assert bool(list(agent.take())) == speaks
        rows.add(table.partition(partition_of("u", 2)).get("u").row())
    assert len(rows) == 1


def test_catalogue_and_touches_meet_in_a_row_whatever_comes_first():
    listing = Message("items", partition_of("i", 1), 3, b"i", items.encode(Item(title="t")))
    alone = Settings(partitions=1)
    found = set()
    for order in (1, -1):
        agent, rows, *_ = item_agent(alone)
        for fold, message in ((agent.fold_catalogue, listing), (agent.fold_touches, told(touch(1))))[::order]:
            fold(message)
        found.add(rows.partition(0).get("i").row())
    assert len(found) == 1


def test_no_bytes_end_a_process():
    draw = random.Random(1)
    user, _ = user_agent()
    item, *_ = item_agent()
    good = [
        events.encode([click(1)]),
        touches.encode(0, 0, [touch(1)]),
        touches.encode(0, 0, [Outcome(1, "x", 1, "a", ("lists", "click"), (), (1.0, 1.0, 0.5))]),
        events.encode([exposure(1)]),
        msgpack.packb({"v": 1}),
    ]
    for _ in range(3_000):
        data = bytearray(draw.choice(good))
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        for fold in (user.fold_events, user.fold_profiles, item.fold_catalogue, item.fold_touches):
            try:
                fold(Message("t", draw.randrange(2), 0, b"u", bytes(data), AT / 1000))
            except Refused as refused:
                assert str(refused)  # noqa: PT017 - a refusal is one of two good answers


def test_a_fold_that_does_not_speak_leaves_the_same_rows_and_says_nothing():
    spoken, silent = (
        (UserAgent(SETTINGS, made, DEFAULTS, speaks=speaks), made)
        for speaks in (True, False)
        for made in [Table("users", Rows(), User, User.from_row)]
    )
    for agent, _ in (spoken, silent):
        for n in range(6):
            agent.fold_events(record(click(n, item=f"i{n % 4}"), offset=n))
        number = partition_of("u", 2)
        agent.fold_profiles(Message("profiles", number, 0, b"u", None))
    (one,), (other,) = (made.dirty() for _, made in (spoken, silent))
    assert one.freeze() == other.freeze()
    assert list(silent[0].take()) == []
    assert list(spoken[0].take())


@pytest.mark.parametrize("tombstone", [True, False])
def test_an_erased_user_is_the_same_after_the_broker_dropped_the_tombstone(tombstone):
    agent, table = user_agent()
    number = partition_of("u", 2)
    agent.fold_profiles(Message("profiles", number, 3, b"u", None))
    _, ((_, _, ((key, erasure),)),) = agent.tell(), agent.take()
    (live,) = table.dirty()
    again, others = user_agent()
    said = Message("events", number, 0, key, erasure, AT / 1000)
    for folding in (agent, again):
        folding.fold_events(said)
    if tombstone:
        again.fold_profiles(Message("profiles", number, 3, b"u", None))
        assert list(again.take()) == []
    (folded,) = others.dirty()
    assert folded.freeze() == live.freeze()


def test_an_erasure_that_is_folded_before_its_tombstone_takes_the_profile_with_it():
    """As after a crash between the two: the tombstone comes again, and must find nothing left to do."""
    agent, _ = user_agent()
    number = partition_of("u", 2)
    agent.fold_profiles(Message("profiles", number, 3, b"u", None))
    ((_, _, ((key, erasure),)),) = agent.take()
    again, table = user_agent()
    again.fold_profiles(Message("profiles", number, 2, b"u", profiles.encode(Profile(attributes={"a": 1.0}))))
    again.fold_events(Message("events", number, 0, key, erasure, AT / 1000))
    again.fold_profiles(Message("profiles", number, 3, b"u", None))
    assert table.partition(number).get("u").profile is None
    again.fold_profiles(Message("profiles", number, 4, b"u", profiles.encode(Profile(attributes={"b": 2.0}))))
    again.fold_events(Message("events", number, 1, key, erasure, AT / 1000))
    assert table.partition(number).get("u").profile == {"b": 2.0}


@pytest.mark.parametrize("event_id", ["erase-1-0-3", "erase-0-0", "erase-0-0-99999999999999999999", "x"])
def test_an_erasure_that_no_tombstone_of_ours_made_moves_no_mark_of_profiles(event_id):
    agent, table = user_agent()
    erase = Event(event_id=event_id, type="erase", at=AT, user_id="u")
    agent.fold_events(record(erase))
    (partition,) = table.dirty()
    assert set(partition.get("u").marks) == {partition.number}
