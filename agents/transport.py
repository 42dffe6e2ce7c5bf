"""Faust's Kafka transport with one mistake mended.

Faust records a gap in the offsets of a compacted topic as one longer than it is, so that the record after the gap
counts as acked and may be committed before it was folded. `items` and `profiles` are compacted.
"""

from typing import Any

from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver

SCHEME = "refold"


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer; a gap ends before the next real record."""

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        await super()._add_gap(tp, offset_from, offset_to - 1)


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's transport over that consumer."""

    Consumer = Consumer


TRANSPORTS.aliases[SCHEME] = "agents.transport:Transport"
