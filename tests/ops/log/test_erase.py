"""What is left of the log when a user is taken out: every offset and index, and all that is others'."""

import itertools

import pytest

from agents.fake import Message, Rows
from agents.table import Table
from agents.users import UserAgent
from models.actions import DEFAULTS
from models.users import User
from ops.log import rewrite
from ops.log.erase import forget
from streams import archives, dead_letters, events, examples, slates, touches
from streams.dead_letters import DeadLetter
from streams.errors import Refused
from streams.events import SESSION, Event
from streams.examples import Choice, Seen
from streams.log import Record
from streams.partition import partition_of
from streams.settings import Settings
from streams.slates import Slate
from streams.touches import Touch, origin_of

AT = 1_700_000_000_000
ONE = Settings(partitions=1, dimensions=8)
ids = itertools.count()


def event(user, item="i", **more):
    return Event(event_id=f"e{next(ids)}", type="click", at=AT, user_id=user, item_id=item, **more)


def record(value, key=None, offset=7, headers=()):
    return Record("t", 0, offset, key, value, AT / 1000, headers)


def fold(*said):
    """The rows of users, by key, after these records, and the origins of what was said."""
    table = Table("users", Rows(), User, User.from_row, 1_000)
    agent = UserAgent(ONE, table, DEFAULTS)
    for each in said:
        agent.fold_events(each)
    origins = [
        touch.origin
        for topic, _, records in agent.take()
        if topic == "touches"
        for _, value in records
        for touch in touches.decode(value).said
    ]
    return table.partition(0).freeze(), origins


# events


def test_the_others_keep_their_indexes_and_their_bytes():
    batch = [event("anna"), event("ben"), event("anna"), event("carl")]
    before = record(events.encode(batch), b"anna")
    left, theirs, indexes = rewrite.events_left(before, "anna", 1)
    assert (theirs, indexes) == ([batch[0], batch[2]], [0, 2])
    assert (left.offset, left.timestamp) == (before.offset, before.timestamp)
    assert left.key == b"ben"  # the user of the first event
    assert b"anna" not in left.value
    assert rewrite.read_events(left, 1) == [(1, batch[1]), (3, batch[3])]
    for one in (batch[1], batch[3]):
        assert events.encode([one])[1:] in left.value
    assert rewrite.events_left(left, "anna", 1)[0] is left


def test_what_is_left_folds_to_the_rows_of_the_others():
    records = [
        record(events.encode([event(user) for user in users]), offset=n)
        for n, users in enumerate((("anna", "ben"), ("ben", "anna", "carl"), ("carl",), ("anna",)))
    ]
    whole, said = fold(*records)
    left = [rewrite.events_left(one, "anna", 1)[0] for one in records]
    rows, said_then = fold(*(one for one in left if not archives.blank(one)))
    assert rows == {key: row for key, row in whole.items() if key != b"anna"}
    gone = {origin_of(*place) for place in ((0, 0), (1, 1), (3, 0))}
    assert said_then == [origin for origin in said if origin not in gone]


def test_a_record_of_theirs_alone_leaves_a_blank_one():
    left, _, _ = rewrite.events_left(record(events.encode([event("anna")]), b"anna"), "anna", 1)
    assert archives.blank(left)
    assert left.offset == 7


def test_a_key_alone_names_the_user_too():
    """A client may give a record any key."""
    batch = record(events.encode([event("ben")]), b"anna")
    left, theirs, _ = rewrite.events_left(batch, "anna", 1)
    assert (left.key, left.value, left.headers, theirs) == (b"ben", batch.value, (), [])
    assert archives.blank(rewrite.events_left(record(b"\xc1", b"anna"), "anna", 1)[0])


def test_a_second_user_goes_from_what_is_left():
    batch = [event("anna"), event("ben"), event("carl")]
    left, _, _ = rewrite.events_left(record(events.encode(batch)), "anna", 1)
    again, theirs, indexes = rewrite.events_left(left, "carl", 1)
    assert (theirs, indexes) == ([batch[2]], [2])
    assert rewrite.read_events(again, 1) == [(1, batch[1])]
    assert again.headers == left.headers
    last, _, _ = rewrite.events_left(again, "ben", 1)
    assert archives.blank(last)


def test_a_worker_takes_a_batch_with_gaps_from_an_archive_alone():
    left, _, _ = rewrite.events_left(record(events.encode([event("anna"), event("ben")])), "anna", 1)
    assert fold(left)[0].keys() == {b"ben"}
    with pytest.raises(Refused, match="not a batch of events"):
        fold(record(left.value))


def test_a_refused_record_is_never_made_good():
    """Without the user's bad event the others' would fold, who did not before."""
    bad = record(events.encode([event("anna", value=float("nan")), event("ben")]))
    assert archives.blank(rewrite.events_left(bad, "anna", 1)[0])
    assert rewrite.events_left(bad, "carl", 1)[0] is bad
    poison = record(b'{"user_id": "anna"}')
    assert archives.blank(rewrite.events_left(poison, "anna", 1)[0])
    assert rewrite.events_left(poison, "carl", 1)[0] is poison


def test_a_session_is_not_the_user_who_was_in_it():
    batch = [event("anna", session_id="s"), event(None, session_id="s"), event("ben")]
    left, theirs, _ = rewrite.events_left(record(events.encode(batch)), f"{SESSION}s", 1)
    assert theirs == [batch[1]]
    assert rewrite.read_events(left, 1) == [(0, batch[0]), (2, batch[2])]


# touches and examples


def a_touch(origin):
    return Touch(origin, "i", "click", AT, 1.0, 0, "", ())


def a_choice(origin):
    return Choice(origin, "i", ("j",), AT, 1.0)


def seen(origin, source):
    return Seen(origin, source, AT, "home", b"r", b"f", (0,), (0,), (), b"")


def test_only_what_is_kept_of_what_was_said_is_left():
    before = record(touches.encode(0, 3, [a_touch(5), a_touch(6), a_touch(8), a_touch(9)]))
    left = rewrite.told_left(before, "touches", 0, lambda _, __, origin: origin not in {5, 8})
    assert touches.decode(left.value) == touches.Touches(touches.VERSION, 0, 3, [a_touch(6), a_touch(9)])


def test_what_was_heard_of_in_slates_has_their_numbers():
    said = [a_choice(5), seen(5, "events"), seen(5, "slates"), seen(6, "slates")]
    before, gone = record(examples.encode(0, 3, said)), {"events": {6}, "slates": {5}}
    left = rewrite.told_left(before, "examples", 0, lambda _, source, origin: origin not in gone[source])
    assert examples.decode(left.value).said == [said[0], said[1], said[3]]


@pytest.mark.parametrize(
    ("topic", "words", "said"), [("touches", touches, a_touch), ("examples", examples, a_choice)]
)
def test_what_others_said_stays_as_it_is(topic, words, said):
    before = record(words.encode(0, 3, [said(5)]))
    assert rewrite.told_left(before, topic, 0, lambda partition, *_: partition == 3) is before
    assert (
        rewrite.told_left(before, topic, 1, lambda *_: False) is before
    )  # the events of that epoch are gone
    assert archives.blank(rewrite.told_left(before, topic, 0, lambda *_: False))
    poison = record(b"\xc1")
    assert rewrite.told_left(poison, topic, 0, lambda *_: False) is poison


# slates and dead letters


def test_a_slate_goes_by_whom_it_was_served_to():
    value = slates.encode(Slate(request_id="r", user_id="anna", at=AT, surface="home", rung="full"))
    assert archives.blank(rewrite.slate_left(record(value, b"anna"), "anna"))
    assert archives.blank(rewrite.slate_left(record(value), "anna"))
    other = record(value, b"anna")
    assert rewrite.slate_left(other, "ben") is other


def letter(value, key=None, topic="shop.events", reason="r"):
    made = DeadLetter(topic=topic, partition=0, offset=1, reason=reason, at=AT, key=key, value=value)
    return record(dead_letters.encode(made))


def test_a_dead_letter_keeps_what_is_of_others():
    ben = event("ben")
    before = letter(
        events.encode([event("anna", value=float("nan")), ben]), b"anna", reason="user 'anna' is bad"
    )
    left = rewrite.letter_left(before, "anna")
    assert b"anna" not in left.value
    good, bad = events.salvage(dead_letters.decode(left.value).value, AT)
    assert good == [ben]
    assert [index for index, _ in bad] == [0]
    assert rewrite.letter_left(before, "carl") is before
    assert archives.blank(rewrite.letter_left(letter(events.encode([event("anna")])), "anna"))
    assert archives.blank(rewrite.letter_left(letter(b"anna and no more"), "anna"))
    assert archives.blank(rewrite.letter_left(letter(b"\x80", b"anna", "shop.profiles"), "anna"))


def test_an_item_may_be_called_as_a_user_is():
    before = letter(b"\xc1", b"42", "shop.items")
    assert rewrite.letter_left(before, "42") is before
    said = record(events.encode([event("ben", item="42")]))
    assert rewrite.events_left(said, "42", 1)[0] is said


# the running state


@pytest.mark.parametrize("length", [1, 249, 256])
def test_a_session_of_any_length_can_be_erased(length):
    key = SESSION + "s" * length
    table = Table("users", Rows(), User, User.from_row, 1_000)
    agent = UserAgent(ONE, table, DEFAULTS)
    click = Event(event_id="c", type="click", at=AT, session_id="s" * length, item_id="i")
    agent.fold_events(Message("events", 0, 0, None, events.encode([click]), AT / 1000))
    assert table.partition(0).get(key).first_at == AT
    agent.fold_profiles(Message("profiles", 0, 0, key.encode(), None, AT / 1000))
    ((_, _, erasures),) = [said for said in agent.take() if said[0] == "events"]
    agent.fold_events(Message("events", 0, 1, *erasures[0], AT / 1000))
    user = table.partition(0).get(key)
    assert (user.first_at, user.trail, user.erased_at) == (0, [], AT)
    assert partition_of(key, 1) == 0


def test_what_is_no_id_is_not_erased():
    for user in ("", SESSION, "u" * 257, SESSION + "s" * 257):
        with pytest.raises(Refused, match=r"is no user: an id has 1\.\.256 bytes"):
            forget(ONE, user)


def test_a_key_beyond_that_is_refused():
    agent = UserAgent(ONE, Table("users", Rows(), User, User.from_row, 1_000), DEFAULTS)
    for key in ("u" * 257, SESSION + "s" * 257):
        with pytest.raises(Refused, match=r"a key has 1\.\.256 bytes"):
            agent.fold_profiles(Message("profiles", 0, 0, key.encode(), None))
