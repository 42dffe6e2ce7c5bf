"""Archives hold every offset: a record, or a blank one that no fold is given."""

import asyncio

import pytest

from agents.consume import DeadLetters, consume
from agents.fake import Event, Message, Stream
from streams import archives
from streams.append import blank, filled
from streams.archives import PLACE
from streams.errors import Refused
from streams.log import Record
from streams.settings import Settings

AT = 1_700_000_000.0


def made(offset, key=b"k", value=b"v", headers=()):
    return Record("t", 3, offset, key, value, AT + offset, headers)


def offsets(records):
    return [(one.offset, archives.blank(one)) for one in records]


def test_missing_offsets_are_filled():
    assert offsets(filled([made(2), made(4)], "t", 3, 1, 6)) == [
        (1, True), (2, False), (3, True), (4, False), (5, True)
    ]  # fmt: skip
    assert offsets(filled([], "t", 3, 0, 2)) == [(0, True), (1, True)]
    assert offsets(filled([made(0), made(1)], "t", 3, 0, 2)) == [(0, False), (1, False)]


def test_a_blank_record_lies_where_and_when_another_did():
    found = list(filled([made(2)], "t", 3, 2, 4, PLACE))
    assert found[1] == Record("t", 3, 3, PLACE, None, AT + 2, archives.HEADERS)
    gone = blank(made(7, headers=(("h", b"1"),)))
    assert (gone.topic, gone.partition, gone.offset, gone.timestamp) == ("t", 3, 7, AT + 7)
    assert archives.blank(gone)


@pytest.mark.parametrize("key", [b"u", b""])
def test_a_tombstone_is_not_blank_whatever_its_headers_say(key):
    """A worker folds it, so the log's reader must give it too."""
    assert not archives.blank(made(0, key, None, archives.HEADERS))


def test_a_record_without_the_header_is_not_blank():
    assert not archives.blank(made(0, None, None))
    assert not archives.blank(made(0, None, None, (("other", b""),)))
    assert archives.erased(made(0, headers=(("other", b""), ("erased", b""))))


class Held:
    """A flusher that only keeps."""

    full = False

    def __init__(self):
        self.held = []

    def hold(self, event):
        self.held.append(event.message.offset)


def test_a_worker_passes_a_blank_record_and_buries_any_other_it_refuses():
    def fold(message):
        raise Refused("no batch")

    said = [
        Event(Message("events", 0, 0, None, None, AT, archives.HEADERS)),
        Event(Message("events", 0, 1, None, None, AT)),
        Event(Message("profiles", 0, 2, PLACE, None, AT, archives.HEADERS)),
    ]
    flusher, dead = Held(), DeadLetters(Settings())
    asyncio.run(consume(Stream(said), fold, flusher, dead))
    assert flusher.held == [0, 1, 2]
    assert len(dead.take()[0][2]) == 1
