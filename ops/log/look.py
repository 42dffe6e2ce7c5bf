"""Look for a user in every topic of the namespace: what a rewritten log, and tables folded from it, must not hold."""

import re
from typing import Any

from ops.broker.topics import admin
from ops.log.rewrite import names
from ops.progress import Begin, silent
from streams.log import Record
from streams.read import records
from streams.settings import Settings
from streams.topology import TOPICS

# every name we give: topics of the topology, of a generation, their archives, and changelogs
OURS = re.compile(
    rf"(?P<topic>{'|'.join(re.escape(topic.name) for topic in TOPICS)})(-g\d+)?(-archive-\d+)?"
    r"|refold(-g\d+)?-(?P<table>[a-z]+)-changelog"
)
KEYED = {"users", "shown"}  # tables whose keys are users; rows do not repeat them
NAMING = {"events", "profiles", "slates", "dead-letters"}


def look(settings: Settings, user: str, begin: Begin = silent) -> dict[str, Any]:
    """Return in which topics, and how many of their records, name a user; and the folders here that may.

    Rows and records on a disk are overwritten only when RocksDB and Kafka compact them or delete their files.
    """
    found: dict[str, int] = {}
    with admin(settings) as client:
        names_there = sorted(client.list_topics())
    prefix = f"{settings.namespace}." if settings.namespace else ""
    ours = [
        (name.removeprefix(prefix), match)
        for name in names_there
        if name.startswith(prefix) and (match := OURS.fullmatch(name.removeprefix(prefix)))
    ]
    advance = begin(len(ours))
    for name, match in ours:
        topic = match["topic"] or match["table"]
        if topic in NAMING or (match["table"] in KEYED):
            count = sum(
                names(topic, _record(topic, one), user, settings.partitions)
                for one in records(settings, name, quiet_ms=300)
            )
            if count:
                found[f"{prefix}{name}"] = count
        advance(1)
    folders = [str(path) for path in sorted(settings.data.glob("*")) if path.is_dir()]
    return {"user": user, "topics": found, "folders": folders}


def _record(topic: str, one: Any) -> Record:
    return Record(
        topic, one.partition, one.offset, one.key, one.value, one.timestamp / 1000, tuple(one.headers)
    )
