"""The loop of every agent: take a record, fold it, hold it; refuse what breaks the contract; die of anything else.

Faust acks a record when its loop asks for the next one or when the body raises, so acks are taken out of its hands:
the stream is `noack` and a record is acked by the flush that made its effects safe.
"""

from collections.abc import Callable
from typing import Any

from agents.crash import die
from agents.flush import Flusher, Outgoing, Record
from streams import archives, dead_letters
from streams.dead_letters import DeadLetter
from streams.errors import Refused
from streams.settings import Settings

MOST_KEPT = 400_000  # bytes of a refused value or key: a dead letter must fit a record, whatever came in
CUT = "; kept here without its end, whole only in its own topic"
MOST_SAID = 1_000  # characters of a reason, which may quote what came in


class DeadLetters:
    """The refused records of one agent since the last flush."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic("dead-letters")
        self._records: dict[int, list[Record]] = {}

    def bury(self, message: Any, reason: str) -> None:
        """Keep a refused record with where it stood and why."""
        cut = max(len(message.value or b""), len(message.key or b"")) > MOST_KEPT
        letter = DeadLetter(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            reason=f"{reason[:MOST_SAID]}{CUT if cut else ''}",
            at=int(message.timestamp * 1000),
            key=_head(message.key),
            value=_head(message.value),
        )
        self._records.setdefault(message.partition, []).append((None, dead_letters.encode(letter)))

    def take(self) -> Outgoing:
        """Return and forget what was buried."""
        records, self._records = self._records, {}
        return [(self._topic, partition, letters) for partition, letters in records.items()]


def _head(data: bytes | None) -> bytes | None:
    return None if data is None else data[:MOST_KEPT]


async def consume(stream: Any, fold: Callable[[Any], None], flusher: Flusher, dead: DeadLetters) -> None:
    """Fold every record of a Faust stream; `fold` takes the message and raises Refused before it changes anything."""
    records = stream.noack()
    async for _ in records:
        event = records.current_event
        try:
            fold(event.message)
        except Refused as refused:
            if not archives.blank(event.message):
                dead.bury(event.message, str(refused))
        except Exception as error:  # noqa: BLE001 - a fold never raises: the state can no longer be trusted
            message = event.message
            die(f"folding {message.topic}[{message.partition}]@{message.offset} failed: {error!r}")
        flusher.hold(event)
        if flusher.full:
            await flusher.room()
