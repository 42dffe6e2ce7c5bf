"""What is left of a record of the log when a user is taken out of it: the same offset, the same indexes.

A user is named by keys and by fields that hold a user, never by text that happens to be the same: items have ids too.
Only in bytes that nothing can read the bytes of the id are looked for.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from streams import archives, dead_letters, events, examples, slates, touches
from streams.append import blank
from streams.errors import Refused
from streams.events import SESSION, Event
from streams.log import Record
from streams.partition import partition_of


def read_events(record: Record, partitions: int) -> list[tuple[int, Event]]:
    """Return the events of a record with their indexes; raises Refused where a worker does."""
    now = int(record.timestamp * 1000)
    if archives.erased(record):
        left = events.decode_left(record.value, now)
    else:
        left = list(enumerate(events.decode(record.value, now)))
    for _, event in left:
        if partition_of(event.user, partitions) != record.partition:
            raise Refused(f"user {event.user!r} does not belong to partition {record.partition}")
    return left


def events_left(record: Record, user: str, partitions: int) -> tuple[Record, list[Event], list[int]]:
    """Return a record of `events` without a user, and which of its events, under which indexes, were theirs.

    A record that workers refuse is blanked whole when it names the user: it was never folded, and without them it
    might be.
    """
    named = record.key == user.encode()
    try:
        read = read_events(record, partitions)
    except Refused:
        return (blank(record) if named or _names(record.value, user) else record), [], []
    theirs = {index: event for index, event in read if event.user == user}
    others = [event for index, event in read if index not in theirs]
    if not theirs and not named:
        return record, [], []
    if not others:
        return blank(record), list(theirs.values()), list(theirs)
    left = replace(record, key=others[0].user.encode() if named else record.key)
    if theirs:
        left.value = events.without(record.value or b"", theirs)
        left.headers = record.headers if archives.erased(record) else (*record.headers, *archives.HEADERS)
    return left, list(theirs.values()), list(theirs)


def told_left(record: Record, topic: str, epoch: int, keep: Callable[[int, str, int], bool]) -> Record:
    """Return a record of `touches` or `examples` with only what `keep` says so of, by partition, source and origin.

    The source is `events`, or `slates` for what was heard of there. What was said in another epoch stays, and what no
    worker reads.
    """
    words: Any = {"touches": touches, "examples": examples}[topic]
    try:
        batch = words.decode(record.value)
    except Refused:
        return record
    kept = [
        said for said in batch.said if keep(batch.partition, getattr(said, "source", "events"), said.origin)
    ]
    if batch.epoch != epoch or len(kept) == len(batch.said):
        return record
    if not kept:
        return blank(record)
    return replace(record, value=words.encode(batch.epoch, batch.partition, kept))


def slate_left(record: Record, user: str) -> Record:
    """Return a record of `slates`, blank if it was served to the user."""
    return blank(record) if _served(record, user) else record


def profile_left(record: Record, user: str) -> Record:
    """Return a record of `profiles`, blank if it is the user's."""
    return blank(record) if record.key == user.encode() else record


def letter_left(record: Record, user: str) -> Record:
    """Return a record of `dead-letters`: what was refused without the user's part, blank if nothing else is there."""
    try:
        letter = dead_letters.decode(record.value or b"")
    except Refused:
        return blank(record) if _names(record.value, user) else record
    theirs_by_key = letter.key == user.encode()
    if letter.topic.rpartition(".")[2] not in ("events", "profiles"):
        return record
    if not (theirs_by_key or repr(user) in letter.reason or _names(letter.value, user)):
        return record
    parts = _parts(letter.value)
    theirs = {index for index, part in enumerate(parts) if _is_of(part, user)}
    if len(theirs) == len(parts):
        return blank(record)
    left = msgspec.structs.replace(
        letter,
        key=None if theirs_by_key else letter.key,
        reason=letter.reason.replace(repr(user), "(erased)"),
        value=events.without(letter.value or b"", theirs),
    )
    return replace(record, value=dead_letters.encode(left))


def names(topic: str, record: Record, user: str, partitions: int) -> bool:
    """Tell whether a record of a topic, or of an archive of it, names the user."""
    if topic == "events":
        return events_left(record, user, partitions)[0] is not record
    if topic == "slates":
        return slate_left(record, user) is not record
    if topic == "dead-letters":
        return letter_left(record, user) is not record
    return record.key == user.encode()


def _served(record: Record, user: str) -> bool:
    try:
        return record.key == user.encode() or slates.decode(record.value or b"").user_id == user
    except Refused:
        return _names(record.value, user)


def _names(value: bytes | None, user: str) -> bool:
    parts = _parts(value)
    if parts:
        return any(_is_of(part, user) for part in parts)
    return user.removeprefix(SESSION).encode() in (value or b"")


def _parts(value: bytes | None) -> list[Any]:
    """Return the elements of a batch whatever is wrong with them, none where nothing can be read."""
    try:
        found: list[Any] = msgspec.msgpack.decode(value or b"", type=list)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return found


def _is_of(part: Any, user: str) -> bool:
    if not isinstance(part, dict):
        return False
    if part.get("user_id") is not None:
        return bool(part["user_id"] == user)
    return user == f"{SESSION}{part.get('session_id')}"
