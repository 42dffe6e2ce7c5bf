"""Topics on the broker: created as the topology declares them, and checked against it before anything runs.

Faust would create what it misses with the broker's defaults; a log that is deleted after a week cannot be
folded again, so topics are made here, and a difference stops the start instead of costing data later.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from streams.errors import TopologyError, Unavailable
from streams.reach import listens, require
from streams.settings import Settings
from streams.topology import Topic, partitions_of, topics

# What correctness rests on; the rest of a topic's configuration is tuning, the operator's to change.
BINDING = (
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "min.compaction.lag.ms",
    "min.insync.replicas",
)
# A real Kafka reports every configuration, this one too, which is never set here; Tansu only what was set.
TELLTALE = "max.message.bytes"


def create(settings: Settings, *, alter: bool = False) -> list[str]:
    """Create the topics that are missing and return their names; `alter` also sets the others' configuration.

    Raises TopologyError when the broker refuses, Unavailable when none answers.
    """
    with admin(settings) as client:
        declared = {topic.name: topic for topic in topics(settings)}
        existing = _partitions(client)
        missing = [name for name in declared if name not in existing]
        if missing:
            _create(client, settings, [declared[name] for name in missing])
        if alter:
            _alter(client, settings, [declared[name] for name in declared if name in existing])
        return missing


def check(settings: Settings) -> list[str]:
    """Raise TopologyError unless the broker's topics are as declared; return what it could not tell.

    A real Kafka tells everything. The embedded broker reports only what a topic was created with.
    """
    faults: list[str] = []
    untold: list[str] = []
    with admin(settings) as client:
        partitions = _partitions(client)
        declared = topics(settings)
        configs = _configs(client, [topic.name for topic in declared if topic.name in partitions])
    for topic in declared:
        if topic.name not in partitions:
            faults.append(f"topic {topic.name!r} is missing: run `refold topics create`")
            continue
        if (found := partitions[topic.name]) != (count := partitions_of(settings, topic)):
            name = "REFOLD_SHARDS" if topic.shards else "REFOLD_PARTITIONS"
            faults.append(
                f"topic {topic.name!r} has {found} partitions, expected {count}: set {name}={found} if that was "
                "meant, else rebuild under a new REFOLD_NAMESPACE"
            )
        for key, expected, value in _differences(topic, settings, configs[topic.name]):
            if value is None and TELLTALE not in configs[topic.name]:
                untold.append(f"topic {topic.name!r}: the broker does not report {key}, expected {expected}")
            else:
                faults.append(
                    f"topic {topic.name!r} has {key}={value}, expected {expected}: "
                    "run `refold topics create --alter`"
                )
    if faults:
        raise TopologyError("\n".join(faults))
    return untold


def ensure(settings: Settings) -> list[str]:
    """Create what is missing, check the rest, return the names created; raises as `create` and `check` do."""
    created = create(settings)
    check(settings)
    return created


@contextlib.contextmanager
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """Yield an administration client of the cluster; within the block too, no answer becomes Unavailable."""
    require(settings)
    try:
        with contextlib.closing(KafkaAdminClient(**settings.client(), bootstrap_timeout_ms=10_000)) as client:
            yield client
    except KafkaError as error:
        raise Unavailable(f"Kafka at {settings.kafka!r} does not answer as it should: {error}") from error


def answers(bootstrap: str) -> bool:
    """Tell whether a broker without encryption tells its cluster's metadata by now."""
    if not listens(
        bootstrap
    ):  # asked first: a client that failed to connect leaves a thread and sockets open
        return False
    try:
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as client:
            return bool(client.describe_cluster()["brokers"])
    except KafkaError:
        return False


def _config(topic: Topic, settings: Settings) -> dict[str, str]:
    # From three replicas on, a write counts once two have it; below that one replica must be enough to go on.
    return {**topic.config(), "min.insync.replicas": "2" if settings.replication >= 3 else "1"}


def _differences(
    topic: Topic, settings: Settings, found: Mapping[str, str]
) -> list[tuple[str, str, str | None]]:
    expected = _config(topic, settings)
    keys = [key for key in BINDING if key in expected and found.get(key) != expected[key]]
    return [(key, expected[key], found.get(key)) for key in keys]


def _partitions(client: KafkaAdminClient) -> dict[str, int]:
    return {topic["name"]: len(topic["partitions"]) for topic in client.describe_topics()}


def _configs(client: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource("topic", name) for name in names]
    answer: dict[str, dict[str, Any]] = client.describe_configs(resources, config_filter="all")["topic"]
    return {name: {key: entry["value"] for key, entry in entries.items()} for name, entries in answer.items()}


def _create(client: KafkaAdminClient, settings: Settings, missing: list[Topic]) -> None:
    answer = client.create_topics(
        {
            topic.name: {
                "num_partitions": partitions_of(settings, topic),
                "replication_factor": settings.replication,
                "configs": _config(topic, settings),
            }
            for topic in missing
        },
        raise_errors=False,
    )
    for topic in answer["topics"]:
        # Another process may have been faster, and wanted the same.
        if topic["error_code"] not in (0, TopicAlreadyExistsError.errno):
            reason = topic.get("error_message") or for_code(topic["error_code"]).__name__
            raise TopologyError(
                f"the broker refuses topic {topic['name']!r} with REFOLD_PARTITIONS={settings.partitions}, "
                f"REFOLD_SHARDS={settings.shards} and REFOLD_REPLICATION={settings.replication}: {reason}"
            )
    client.wait_for_topics([topic.name for topic in missing])


def _alter(client: KafkaAdminClient, settings: Settings, existing: list[Topic]) -> None:
    if not existing:
        return
    resources = [ConfigResource("topic", topic.name, _config(topic, settings)) for topic in existing]
    # Tansu knows no list of valid keys to check ours against; Kafka itself refuses a wrong one.
    answer = client.alter_configs(resources, raise_on_unknown=False)["topic"]
    for name, result in answer.items():
        if result != "OK":
            raise TopologyError(f"the broker refuses the configuration of topic {name!r}: {result}")
    # The controller has it now; the broker that `check` may ask next learns it a moment later.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        configs = _configs(client, [topic.name for topic in existing])
        if not any(_differences(topic, settings, configs[topic.name]) for topic in existing):
            return
        time.sleep(0.05)
    raise Unavailable("the broker accepted the configuration, yet does not report it after 10 s: try again")
