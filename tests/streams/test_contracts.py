"""What comes from outside either keeps its contract and survives the wire, or is refused with a reason."""

import contextlib
import struct

import msgpack
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams import dead_letters, events, examples, items, profiles, slates, touches
from streams.dead_letters import DeadLetter
from streams.errors import Refused
from streams.events import Event
from streams.examples import Choice
from streams.exposures import Exposure
from streams.items import Item
from streams.profiles import Profile
from streams.settings import Settings
from streams.slates import Asked, Shown, Slate
from streams.topology import topics
from streams.touches import Outcome, Touch
from tests import strategies
from tests.strategies import NOW

AT = 1_700_000_000_000
CLICK = {"event_id": "e1", "type": "click", "at": AT, "user_id": "u1", "item_id": "i1"}
DEEP = b"\x91" * 100_000 + b"\xc0"  # an array in an array in an array ...


def batch(**changed):
    """The bytes of a batch of one click, with fields changed; None takes a field away."""
    said = {**CLICK, **changed}
    return msgpack.packb([{key: value for key, value in said.items() if value is not None}])


@given(st.lists(strategies.events, min_size=1, max_size=5))
def test_events_survive_the_wire(batch):
    assert events.decode(events.encode(batch), NOW) == batch


@given(strategies.items)
def test_items_survive_the_wire(item):
    assert items.decode(items.encode(item)) == item


@given(strategies.profiles)
def test_profiles_survive_the_wire(profile):
    assert profiles.decode(profiles.encode(profile)) == profile


def test_exposures_survive_the_wire_and_only_as_such():
    shown = (Exposure("x", 3, "b", ("lists",), b"hash1", "u@7"), Exposure("y", 1, "a"))
    event = Event(event_id="e", type="exposure", at=AT, user_id="u", value=20.0, exposures=shown)
    assert events.decode(events.encode([event]), AT) == [event]
    with pytest.raises(Refused, match="only 'exposure' carries them"):
        events.decode(events.encode([msgspec.structs.replace(event, type="click")]), AT)
    many = msgspec.structs.replace(event, exposures=17 * shown[:1])
    with pytest.raises(Refused, match="length <= 16"):
        events.decode(events.encode([many]), AT)


def test_touches_survive_the_wire():
    said = [Touch(5, "i", "click", AT, 1.0, 3, "home", ("all",)), Touch(6, "j", "hide", AT, -5.0, -1, "", ())]
    said.append(Outcome(7, "x", 3, "b", ("lists", "click"), (1.0, 2.0, 0.0), ()))
    found = touches.decode(touches.encode(2, 7, said))
    assert (found.epoch, found.partition, found.said) == (2, 7, said)


def test_examples_survive_the_wire():
    said = [Choice(5, "i", ("j", "k"), AT, 1.5), Choice(6, "j", (), AT, -1.0)]
    found = examples.decode(examples.encode(2, 7, said))
    assert (found.epoch, found.partition, found.said) == (2, 7, said)


def test_slates_survive_the_wire():
    slate = Slate(
        request_id="r",
        user_id="u",
        at=AT,
        surface="home",
        rung="full",
        asked=Asked(operation="similar", n=3, context={"country": "de"}, beside="j"),
        items=(Shown("i", 0, 1.5, 1.0, "ann", (0.5,)),),
    )
    assert slates.decode(slates.encode(slate)) == slate


def test_slates_from_before_requests_were_written_down_are_read():
    old = {"v": 1, "request_id": "r", "user_id": "u", "at": AT, "surface": "home", "rung": "empty"}
    assert slates.decode(msgspec.msgpack.encode(old)).asked is None


@given(st.none() | st.binary(max_size=64), st.none() | st.binary(max_size=64), st.text(max_size=32))
def test_dead_letters_survive_the_wire_whatever_they_hold(key, value, reason):
    letter = DeadLetter(topic="events", partition=3, offset=9, reason=reason, at=AT, key=key, value=value)
    assert dead_letters.decode(dead_letters.encode(letter)) == letter


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"colour": "red"}, "colour"),
        ({"type": 7}, "type"),
        ({"type": "Click"}, "'Click' is not a name"),
        ({"type": "click\n"}, r"'click\\n' is not a name"),
        ({"type": ""}, "type"),
        ({"type": None}, "type"),
        ({"type": "x" * 65}, "type"),
        ({"surface": "a b"}, "'a b' is not a name"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": None}, "event_id"),
        ({"user_id": None}, "user_id or a session_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": 12}, "user_id"),
        ({"user_id": "u" * 257}, "user_id"),
        ({"user_id": "ü" * 129}, "'ü.*over 256 bytes"),
        ({"item_id": "\N{SNOWMAN}" * 86}, "over 256 bytes"),
        ({"categories": ["ü" * 129]}, "over 256 bytes"),
        ({"categories": list("abcdefghi")}, "9 categories"),
        ({"categories": "a"}, "categories"),
        ({"context": {"Device": "x"}}, "context"),
        ({"context": {"device": "x" * 1025}}, "context"),
        ({"context": {f"k{n}": "" for n in range(17)}}, "17 context fields"),
        ({"at": None}, "at"),
        ({"at": 1_700_000_000}, r"\$\[0\].at"),  # seconds
        ({"at": AT + 0.5}, r"\$\[0\].at"),
        ({"at": 5_000_000_000_000}, r"\$\[0\].at"),
        ({"at": AT + 90_000_000}, f"at={AT + 90_000_000} lies more than a day after"),
        ({"value": float("nan")}, "value=nan"),
        ({"value": float("inf")}, "value=inf"),
        ({"value": -1e12}, "value=-1000000000000.0"),
        ({"value": "5"}, "value"),
        ({"position": -1}, "position=-1"),
        ({"position": 10_000}, "position=10000"),
        ({"position": True}, "position"),
        ({"v": 2}, "event version 2 is unknown"),
    ],
)
def test_an_event_that_breaks_the_contract_is_refused_with_a_reason(changed, reason):
    with pytest.raises(Refused, match=reason):
        events.decode(batch(**changed), AT)


def test_the_longest_ids_are_taken_in_any_alphabet():
    for longest in ("u" * 256, "ü" * 128, "\N{SNOWMAN}" * 85):
        assert events.decode(batch(user_id=longest), AT)[0].user == longest


def test_someone_unknown_is_keyed_by_the_session():
    (event,) = events.decode(batch(user_id=None, session_id="s1"), AT)
    assert event.user == "session:s1"


@pytest.mark.parametrize("count", [0, 501])
def test_a_batch_has_1_to_500_events(count):
    with pytest.raises(Refused, match=rf"1..500 events, this one {count}"):
        events.decode(msgpack.packb([CLICK] * count), AT)
    assert len(events.decode(msgpack.packb([CLICK] * 500), AT)) == 500


@pytest.mark.parametrize("value", [None, b""])
def test_an_empty_record_is_refused(value):
    with pytest.raises(Refused, match="empty record"):
        events.decode(value, AT)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"colour": "red"}, "colour"),
        ({"title": 5}, "title"),
        ({"title": "x" * 1025}, "title"),
        ({"boost": float("nan")}, "boost=nan"),
        ({"boost": -0.1}, "boost=-0.1"),
        ({"boost": 101.0}, "boost=101.0"),
        ({"categories": list("abcdefghi")}, "9 categories"),
        ({"tags": [str(n) for n in range(33)]}, "33 tags"),
        ({"tags": ["ü" * 129]}, "over 256 bytes"),
        ({"published_at": 1}, "published_at"),
        ({"attributes": {"price": float("inf")}}, "inf, which is not a finite number"),
        ({"attributes": {"Price": 1.0}}, "attributes"),
        ({"attributes": {"price": [1]}}, "attributes"),
        ({"attributes": {"text": "x" * 1025}}, "attributes"),
        ({"attributes": {f"k{n}": True for n in range(65)}}, "65 attributes"),
        ({"v": 9}, "item version 9 is unknown"),
    ],
)
def test_an_item_that_breaks_the_contract_is_refused_with_a_reason(changed, reason):
    with pytest.raises(Refused, match=reason):
        items.decode(msgpack.packb(changed))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": "x"}, "name"),
        ({"attributes": {"age": float("-inf")}}, "-inf"),
        ({"attributes": {"text": "x" * 1025}}, "attributes"),
        ({"attributes": {f"k{n}": True for n in range(65)}}, "65 attributes"),
        ({"v": 0}, "profile version 0 is unknown"),
    ],
)
def test_a_profile_that_breaks_the_contract_is_refused_with_a_reason(changed, reason):
    with pytest.raises(Refused, match=reason):
        profiles.decode(msgpack.packb(changed))


def test_other_versions_of_touches_and_slates_are_refused():
    with pytest.raises(Refused, match="touches version 7"):
        touches.decode(msgpack.packb([7, 0, 0, []]))
    with pytest.raises(Refused, match="slate version 7"):
        slates.decode(
            msgpack.packb({"v": 7, "request_id": "r", "user_id": "u", "at": 1, "surface": "s", "rung": "f"})
        )


DECODERS = {
    "events": lambda data: events.decode(data, NOW),
    "salvage": lambda data: events.salvage(data, NOW),
    "items": items.decode,
    "profiles": profiles.decode,
    "touches": touches.decode,
    "examples": examples.decode,
    "slates": slates.decode,
    "dead letters": dead_letters.decode,
}


def _wire():
    """Arbitrary bytes, arbitrary MessagePack, and good records with a few bytes changed."""
    scalar = (
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
    )
    tree = st.recursive(
        scalar, lambda kids: st.lists(kids) | st.dictionaries(st.text() | st.integers(0, 9), kids)
    )
    good = st.sampled_from(
        [
            batch(),
            items.encode(Item(title="t", attributes={"a": 1.0})),
            profiles.encode(Profile(attributes={"a": "b"})),
            touches.encode(0, 0, [Touch(1, "i", "click", AT, 1.0, 0, "s", ("all",))]),
            examples.encode(0, 0, [Choice(1, "i", ("j",), AT, 1.0)]),
        ]
    )

    @st.composite
    def bent(draw):
        data = bytearray(draw(good))
        for _ in range(draw(st.integers(1, 4))):
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)

    return st.binary(max_size=64) | tree.map(msgpack.packb) | bent()


@pytest.mark.parametrize("name", DECODERS)
def test_no_bytes_raise_anything_but_refused(name):
    @given(_wire())
    @example(DEEP)
    @example(b"\x91\x81\xa1x" + DEEP)
    @example(b"\x81\xa1x" + DEEP)
    @example(b"\x96\x01\x00\x00\x90\xc4\x00" + DEEP)
    @example(b"\x91\x81\xa8event_id\xa1\xff")
    def law(data):
        with contextlib.suppress(Refused):
            DECODERS[name](data)

    law()


def test_what_is_good_in_a_refused_batch_is_salvaged():
    bad = {**CLICK, "event_id": "e2", "value": float("nan")}
    broken = msgpack.packb({**CLICK, "event_id": "e3"}).replace(b"click", b"\xff\xffick")
    said = struct.pack("B", 0x94) + b"".join(
        [msgpack.packb(CLICK), msgpack.packb(bad), broken, msgpack.packb(7)]
    )
    with pytest.raises(Refused):
        events.decode(said, AT)
    good, refused = events.salvage(said, AT)
    assert good == [msgspec.convert(CLICK, Event)]
    assert [index for index, _ in refused] == [1, 2, 3]
    assert "value=nan" in refused[0][1]
    assert "utf-8" in refused[1][1]


def test_nothing_is_salvaged_from_what_is_no_batch():
    with pytest.raises(Refused, match="not a batch of events"):
        events.salvage(b"\xc1", AT)


def test_tombstones_of_items_outlive_every_rebuild_and_those_of_users_do_not():
    kept = {one.name: one.config().get("delete.retention.ms") for one in topics(Settings(namespace="shop"))}
    assert int(kept["shop.items"]) > 90 * 365 * 86_400_000
    assert kept["shop.profiles"] == "86400000"
