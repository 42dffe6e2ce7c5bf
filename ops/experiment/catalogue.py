"""What the log says of an experiment's lists and items since it began, read through once."""

from collections import Counter, OrderedDict
from collections.abc import Iterator

from streams import events, items, slates
from streams.errors import Refused
from streams.events import Event
from streams.experiments import Record as Tried
from streams.log import Log, Record
from streams.slates import Slate

REMEMBERED = 100_000  # slates that later ones may have been copies of


def began(tried: Tried) -> int:
    """Return when the current version began to run (ms), when it was defined if it never did."""
    current = tried.current
    return next(
        (one.at for one in tried.decided if one.state == "running" and one.at >= current.at), current.at
    )


def over(tried: Tried, now: int) -> int:
    """Return when the current version ended (ms), `now` while it has not."""
    ends = now
    for one in reversed(tried.decided):
        if one.state not in ("stopped", "killed"):
            break
        ends = one.at
    return ends


def catalogue(log: Log) -> dict[str, tuple[str, ...]]:
    """Return the categories of every item there is."""
    found: dict[str, tuple[str, ...]] = {}
    for record in _records(log, "items", 0):
        item = (record.key or b"").decode(errors="replace")
        if record.value is None:
            found.pop(item, None)
            continue
        try:
            found[item] = items.decode(record.value).categories
        except Refused:  # a dead letter already
            continue
    return found


def lists(log: Log, since: int, unknown: Counter[str]) -> Iterator[tuple[Slate, tuple[str, ...]]]:
    """Yield every slate logged since a time (ms) and its items, those of a copy from its original.

    Counts in `unknown` slates that cannot be read, and copies of what was logged too long before.
    """
    shown: OrderedDict[str, tuple[str, ...]] = OrderedDict()
    for record in _records(log, "slates", since):
        try:
            slate = slates.decode(record.value or b"")
        except Refused:
            unknown["slates that cannot be read"] += 1
            continue
        if slate.same_as:
            if slate.same_as not in shown:
                unknown["copies of slates from before"] += 1
                continue
            yield slate, shown[slate.same_as]
            continue
        found = shown[slate.request_id] = tuple(item.item_id for item in slate.items)
        if len(shown) > REMEMBERED:
            shown.popitem(last=False)
        yield slate, found


def acts(log: Log, since: int) -> Iterator[Event]:
    """Yield every event about an item since a time (ms)."""
    for record in _records(log, "events", since):
        at = round(record.timestamp * 1000)
        try:
            said = events.decode(record.value, at)
        except Refused:
            if not record.headers:
                continue  # a dead letter already
            said = [event for _, event in events.decode_left(record.value, at)]  # someone was erased from it
        yield from (event for event in said if event.item_id and event.at >= since)


def _records(log: Log, topic: str, since: int) -> Iterator[Record]:
    for number, start in log.positions_at(topic, since - 1).items():
        for batch in log.read(topic, number, start):
            yield from batch
