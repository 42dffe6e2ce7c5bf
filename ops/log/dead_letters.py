"""Dead letters: what was refused, each record once, and sending again what is good by now."""

import time
from collections.abc import Iterator
from typing import Any

from streams import archives, dead_letters, events, items, profiles
from streams.checks import MAX_ID_BYTES
from streams.dead_letters import DeadLetter
from streams.errors import Refused
from streams.partition import partition_of
from streams.read import records
from streams.settings import Settings
from streams.write import EventWriter, producer


def listed(settings: Settings) -> list[DeadLetter]:
    """Return the refused records, oldest first, each once: a replay may bury the same record again."""
    found: dict[tuple[str, int, int], DeadLetter] = {}
    for record in _records(settings):
        letter = dead_letters.decode(record.value)
        found.setdefault((letter.topic, letter.partition, letter.offset), letter)
    return sorted(found.values(), key=lambda letter: (letter.at, letter.topic, letter.offset))


def _records(settings: Settings) -> Iterator[Any]:
    archive = archives.load(settings).get(settings.topic("dead-letters"))
    if archive is not None:
        name = archive.topic.removeprefix(f"{settings.namespace}.")
        yield from (record for record in records(settings, name) if not archives.blank(record))
    yield from records(settings, "dead-letters")


def resend(settings: Settings) -> dict[str, Any]:
    """Send again the good events of refused batches, under their own users' partitions, and mended items and profiles.

    Event ids make it safe to repeat: within a user's 64 most recent ids an event counts once.
    """
    now = int(time.time() * 1000)
    sent = still = 0
    with producer(settings) as to:
        writer = EventWriter(settings, to)
        for letter in listed(settings):
            try:
                if letter.topic == settings.topic("events"):
                    good, bad = events.salvage(letter.value or b"", now)
                    writer.write(good)
                    sent, still = sent + len(good), still + len(bad)
                else:
                    number = _check(settings, letter)
                    to.send(letter.topic, key=letter.key, value=letter.value, partition=number)
                    sent += 1
            except Refused:
                still += 1
        writer.finish()
    return {"sent": sent, "still_refused": still}


def _check(settings: Settings, letter: DeadLetter) -> int:
    """Return the partition an item or profile belongs to; raises Refused when a worker would refuse it again."""
    decoders = {settings.topic("items"): items.decode, settings.topic("profiles"): profiles.decode}
    key = letter.key or b""
    if letter.topic not in decoders or not 1 <= len(key) <= MAX_ID_BYTES:
        raise Refused(f"records of {letter.topic} cannot be sent again")
    if letter.value is not None:  # else a tombstone that came to a wrong partition
        decoders[letter.topic](letter.value)
    try:
        return partition_of(key.decode(), settings.partitions)
    except UnicodeDecodeError:
        raise Refused(f"the key {key!r} is not UTF-8") from None
