"""The loop of every agent: take a record, fold it, hold it; refuse what breaks the contract; die of anything else.

Faust acks a record when its loop asks for the next one or when the body raises, so acks are taken out of its hands:
the stream is `noack` and a record is acked by the flush that made its effects safe.
"""

from collections.abc import Callable
from typing import Any

from agents.crash import die
from agents.flush import Flusher, Outgoing
from streams import dead_letters
from streams.dead_letters import DeadLetter
from streams.errors import Refused
from streams.settings import Settings


class DeadLetters:
    """The refused records of one agent since the last flush."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic("dead-letters")
        self._records: dict[int, list[tuple[bytes | None, bytes | None]]] = {}

    def bury(self, message: Any, reason: str) -> None:
        """Keep a refused record with where it stood and why."""
        letter = DeadLetter(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            reason=reason,
            at=int(message.timestamp * 1000),
            key=message.key,
            value=message.value,
        )
        self._records.setdefault(message.partition, []).append((None, dead_letters.encode(letter)))

    def take(self) -> Outgoing:
        """Return and forget what was buried."""
        records, self._records = self._records, {}
        return [(self._topic, partition, letters) for partition, letters in records.items()]


async def consume(stream: Any, fold: Callable[[Any], None], flusher: Flusher, dead: DeadLetters) -> None:
    """Fold every record of a Faust stream; `fold` takes the message and raises Refused before it changes anything."""
    records = stream.noack()
    async for _ in records:
        event = records.current_event
        try:
            fold(event.message)
        except Refused as refused:
            dead.bury(event.message, str(refused))
        except Exception as error:  # noqa: BLE001 - a fold never raises: the state can no longer be trusted
            message = event.message
            die(f"folding {message.topic}[{message.partition}]@{message.offset} failed: {error!r}")
        flusher.hold(event)
        if flusher.full:
            await flusher.drained()
