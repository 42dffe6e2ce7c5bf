"""Erase: a user taken out of the running state by a tombstone, and out of the log by writing its beginning anew.

The log is written anew up to the settled ends it has now: each topic that names the user gets an archive without
them (ops/log/archive.py), all archives are recorded at once, and only then is what they replace cut off. Whatever ends
this in between loses nothing: an archive that was not recorded is deleted by the next run, a cut that is missing is
made by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka.errors import KafkaError

from models.users import ERASE
from ops.log import archive, rewrite
from ops.log.archive import TOLD, Left, Target
from ops.log.settled import PATIENCE, Ends, ends_of, settled
from ops.progress import Begin, silent
from ops.state.generations import every
from streams import archives
from streams.checks import MAX_ID_BYTES
from streams.errors import Refused, StateError, Unavailable
from streams.events import SESSION
from streams.generations import of_live
from streams.log import Log, Record
from streams.partition import partition_of
from streams.settings import Settings
from streams.touches import origin_of
from streams.write import producer


@dataclass
class Traces:
    """What was found of a user in `events`: how many, the sessions they name, and what came last.

    `origins` name them, and the user's slates, by source.
    """

    events: int = 0
    origins: dict[str, set[int]] = field(default_factory=lambda: {"events": set(), "slates": set()})
    sessions: set[str] = field(default_factory=set)
    erased: bool = True


def forget(settings: Settings, user: str) -> dict[str, Any]:
    """Write the tombstone of a user's profile, on which running systems forget the user; return where it stands.

    Raises Refused for what is no id, Unavailable.
    """
    if not 1 <= len(user.removeprefix(SESSION).encode()) <= MAX_ID_BYTES:
        raise Refused(f"{user[:40]!r} is no user: an id has 1..{MAX_ID_BYTES} bytes, behind `{SESSION}` too")
    number = partition_of(user, settings.partitions)
    try:
        with producer(settings) as to:
            sent: Any = to.send(settings.topic("profiles"), key=user.encode(), value=None, partition=number)
            return {"user": user, "partition": number, "offset": sent.get(timeout=30).offset}
    except KafkaError as error:
        raise Unavailable(f"the broker did not take the tombstone of {user!r}: {error}") from error


def erase(
    settings: Settings, user: str, *, cut: bool, seconds: float = PATIENCE, begin: Begin = silent
) -> dict[str, Any]:
    """Take a user out of the log and return what was found, by topic; without `cut` nothing is written.

    Raises StateError while workers have not folded what is to be cut, or a rebuild is under way.
    """
    settings, recorded = of_live(settings), archives.load(settings)
    if cut:
        archive.refuse_building(settings)
        archive.remove_unrecorded(settings, recorded)
    states = every(settings)
    with Log(settings, recorded) as log:
        if cut and not _forgotten(log, settings, user):
            forget(settings, user)
        ends, behind = settled(log, states, seconds if cut else 0)
        if cut and behind:
            raise StateError(
                f"{behind} records of profiles, events and slates are not folded by every worker: start workers, or "
                "drop the generation that has none, and try again"
            )
        traces = _traces(log, settings, user, ends["events"])
        traces.origins["slates"] = _slates(log, settings, user, ends["slates"])
    made, found = dict(recorded), {}
    for target in archive.targets(settings):
        left = rewriter(target, user, traces.origins)
        with Log(target.settings, recorded) as log:
            until = ends_of(log, target.topic) if target.topic in TOLD else ends[target.topic]
            advance = begin(3 * sum(until.values()) if cut else sum(until.values()))
            found[target.name] = archive.count(log, target, until, left, advance)
            if cut and found[target.name]:
                made[target.name] = archive.write(log, target, until, left, advance)
                archive.verify(log, target, {**recorded, target.name: made[target.name]}, left, advance)
    if cut:
        if made != recorded:
            archives.save(settings, made)
        archive.cut(settings, states, made, seconds)
        archive.remove_unrecorded(settings, made)
    return {
        "user": user, "events": traces.events, "records": found,
        "sessions": sorted(traces.sessions), "cut": cut,
    }  # fmt: skip


def rewriter(target: Target, user: str, origins: Mapping[str, set[int]]) -> Left:
    """Return what makes of a record of the topic one without the user, the same one where they are not in it."""
    settings, home = target.settings, partition_of(user, target.settings.partitions)

    def keep(partition: int, source: str, origin: int) -> bool:
        return partition != home or origin not in origins[source]

    def told(record: Record) -> Record:
        return rewrite.told_left(record, target.topic, settings.epoch, keep)

    lefts: dict[str, Left] = {
        "events": lambda record: rewrite.events_left(record, user, settings.partitions)[0],
        "profiles": lambda record: rewrite.profile_left(record, user),
        "slates": lambda record: rewrite.slate_left(record, user),
        "dead-letters": lambda record: rewrite.letter_left(record, user),
        **dict.fromkeys(TOLD, told),
    }
    return lefts[target.topic]


def _forgotten(log: Log, settings: Settings, user: str) -> bool:
    """Tell whether nothing was said of the user since they were last erased."""
    number = partition_of(user, settings.partitions)
    profile: bytes | None = None
    for batch in log.read("profiles", number):
        for record in batch:
            if record.key == user.encode():
                profile = record.value
    return profile is None and _traces(log, settings, user, {number: ends_of(log, "events")[number]}).erased


def _traces(log: Log, settings: Settings, user: str, until: Ends) -> Traces:
    traces, number = Traces(), partition_of(user, settings.partitions)
    for batch in log.read("events", number, log.spans("events")[number][0], until[number]):
        for record in batch:
            _, theirs, indexes = rewrite.events_left(record, user, settings.partitions)
            traces.origins["events"].update(origin_of(record.offset, index) for index in indexes)
            for event in theirs:
                traces.events += 1
                traces.erased = event.type == ERASE
                if event.user_id is not None and event.session_id is not None:
                    traces.sessions.add(f"{SESSION}{event.session_id}")
    return traces


def _slates(log: Log, settings: Settings, user: str, until: Ends) -> set[int]:
    """Return the origins of what was served to a user."""
    number = partition_of(user, settings.partitions)
    begin = log.spans("slates")[number][0]
    return {
        origin_of(record.offset, 0)
        for batch in log.read("slates", number, begin, until[number])
        for record in batch
        if rewrite.slate_left(record, user) is not record
    }
