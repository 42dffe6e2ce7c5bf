"""Settled ends: offsets of the log before which no fold has anything left to say to another topic.

A profile's tombstone comes back as an event, an event is heard of in `touches` and `examples`, a slate in the latter;
whoever takes a part of the log away takes them in this order, each when the workers have committed what lies before.
"""

import time
from collections.abc import Mapping, Sequence

from ops.broker.lag import STAGE_OF, committed
from ops.broker.topics import admin
from streams.log import Log
from streams.settings import Settings
from streams.topology import TOPICS

PATIENCE = 30.0  # seconds
POLL = 0.3

Ends = Mapping[int, int]


def settled(log: Log, states: Sequence[Settings], seconds: float = PATIENCE) -> tuple[dict[str, Ends], int]:
    """Return the end of every topic by partition, and how many records before it are not folded by all `states`.

    Waits that long for the workers, unless there never were any.
    """
    ends: dict[str, Ends] = {}
    behind = 0
    for topic in ("profiles", "events", "slates"):
        ends[topic] = ends_of(log, topic)
        behind += wait_for(states, topic, ends[topic], seconds)
    ends |= {topic.name: ends_of(log, topic.name) for topic in TOPICS if topic.name not in ends}
    return ends, behind


def ends_of(log: Log, topic: str) -> Ends:
    """Return the end of each partition."""
    return {number: end for number, (_, end) in log.spans(topic).items()}


def wait_for(states: Sequence[Settings], source: str, ends: Ends, seconds: float = PATIENCE) -> int:
    """Wait until workers have folded a source up to its ends in every state; return how many records are missing.

    Does not wait for a state that never had a worker. Raises Unavailable.
    """
    deadline = time.monotonic() + seconds
    while True:
        behind, hope = _behind(states, source, ends)
        if not behind or not hope or time.monotonic() > deadline:
            return behind
        time.sleep(POLL)


def _behind(states: Sequence[Settings], source: str, ends: Ends) -> tuple[int, bool]:
    behind, hope = 0, True
    with admin(states[0]) as client:
        for state in states:
            done = committed(client, state.group(STAGE_OF[source]), state.topic(source))
            missing = sum(max(0, end - done.get(number, 0)) for number, end in ends.items())
            behind += missing
            hope = hope and bool(done or not missing)
    return behind, hope
