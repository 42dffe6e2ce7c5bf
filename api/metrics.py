"""Metrics: what an operator watches, in a registry of its own so that two apps in a process never mix."""

from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
    generate_latest,
)

from streams.errors import Refused

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_STAGES = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25)


class Metrics:
    """Every figure of an API process; label values come from closed sets, never from clients."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._latency = Histogram(
            "refold_request_seconds",
            "Time to answer, by route.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._requests = Counter(
            "refold_requests", "Requests, by route and status.", ["route", "status"], registry=registry
        )
        self._stages = Histogram(
            "refold_stage_seconds",
            "Time in one stage of a request.",
            ["stage"],
            buckets=_STAGES,
            registry=registry,
        )
        self._answers = Counter(
            "refold_answers", "Lists served, by surface and rung.", ["surface", "rung"], registry=registry
        )
        self._failures = Counter("refold_rung_failures", "Rungs that failed.", ["rung"], registry=registry)
        self._refused = Counter(
            "refold_refused",
            "Events, items, profiles and requests refused, by class of reason.",
            ["what", "reason"],
            registry=registry,
        )
        self._ingested = Counter(
            "refold_ingested", "Acknowledged by Kafka, by what.", ["what"], registry=registry
        )
        slates = Counter("refold_slates", "Slates, by what became of them.", ["fate"], registry=registry)
        self.slates_logged = slates.labels("logged")
        self.slates_dropped = slates.labels("dropped")
        exposures = Counter(
            "refold_exposures",
            "Exposures to experiments, by what became of them.",
            ["fate"],
            registry=registry,
        )
        self.exposures_logged = exposures.labels("logged")
        self.exposures_dropped = exposures.labels("dropped")
        ahead = Counter(
            "refold_ahead", "Lists computed before they were asked for, by what became of them.", ["fate"],
            registry=registry,
        )  # fmt: skip
        self._ahead = {fate: ahead.labels(fate) for fate in ("computed", "used", "wasted", "dropped")}
        self.shed = Counter("refold_shed", "Requests turned away for overload.", ["gate"], registry=registry)
        self.ready = Gauge("refold_ready", "1 when the replica has caught up.", registry=registry)
        self.lag = Gauge(
            "refold_replica_lag_records",
            "Records the replica has not read yet.",
            registry=registry,
        )
        self.staleness = Gauge(
            "refold_replica_staleness_seconds", "Age of what the replica shows.", registry=registry
        )
        self.generation = Gauge(
            "refold_generation", "Number of the generation of the state that is served.", registry=registry
        )
        self._models = Gauge(
            "refold_model",
            "1 for a version of the registry in a stage here; refused is one that cannot be served.",
            ["name", "version", "stage"],
            registry=registry,
        )
        self._experiments = Gauge(
            "refold_experiment",
            "1 for an experiment in a state; refused is one that takes no part here whatever its state.",
            ["key", "state"],
            registry=registry,
        )
        self._agreement = Summary(
            "refold_shadow_agreement",
            "Share of the first ten that a shadow has in common with what was served.",
            ["version"],
            registry=registry,
        )
        self._chances = Summary(
            "refold_shadow_chance",
            "Mean chance that a shadow gives its own first ten.",
            ["version"],
            registry=registry,
        )
        self.kafka = Gauge("refold_kafka_connected", "1 when the producer takes records.", registry=registry)
        self.latency_of = lru_cache(maxsize=256)(self._latency.labels)
        self.requests_of = lru_cache(maxsize=4096)(self._requests.labels)
        self._stage_of = lru_cache(maxsize=64)(self._stages.labels)
        self._answers_of = lru_cache(maxsize=1024)(self._answers.labels)

    def stage(self, name: str, seconds: float) -> None:
        """Count the time one stage of a request took; the engine's hook."""
        self._stage_of(name).observe(seconds)

    def count(self, name: str, labels: dict[str, str]) -> None:
        """Count a list that was served, or a rung that failed; the engine's hook."""
        if name == "answers":
            self._answers_of(labels["surface"], labels["rung"]).inc()
        else:
            self._failures.labels(labels["rung"]).inc()

    def ahead(self, fate: str) -> None:
        """Count a list that was computed before it was asked for: computed, used, wasted, or dropped."""
        self._ahead[fate].inc()

    def models(self, known: Iterable[tuple[str, str, str]]) -> None:
        """Tell which versions (name, version, stage) are in force."""
        self._models.clear()
        for labels in known:
            self._models.labels(*labels).set(1)

    def experiments(self, known: Iterable[tuple[str, str]]) -> None:
        """Tell which experiments (key, state) there are."""
        self._experiments.clear()
        for labels in known:
            self._experiments.labels(*labels).set(1)

    def shadow(self, version: str, agreement: float, chance: float) -> None:
        """Count one request that a shadow scored too."""
        self._agreement.labels(version).observe(agreement)
        self._chances.labels(version).observe(chance)

    def refuse(self, what: str, reason: str) -> None:
        """Count one refused thing; `reason` is the sentence the client reads, or the name of a problem."""
        self._refused.labels(what, reason_class(reason)).inc()

    def ingest(self, what: str, count: int) -> None:
        """Count what Kafka acknowledged."""
        self._ingested.labels(what).inc(count)

    def expose(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self.registry)


_CLASSES = (
    *((name, name) for name in ("syntax", "too-large", "media-type", "slow-body")),
    ("unknown field", "unknown"),
    ("unknown parameter", "unknown"),
    ("missing required", "missing"),
    ("needs a user_id", "missing"),
    ("reserved", "reserved"),
    ("version", "version"),
    ("256 bytes", "id"),
    ("matching regex", "name"),
    ("not a name", "name"),
    ("length", "length"),
    ("at most", "length"),
    ("1..", "length"),
    ("finite", "number"),
    ("a day after", "time"),
    ("outside", "range"),
    ("Expected `int`", "range"),
    ("Expected `float`", "range"),
    ("Expected", "type"),
)


def reason_class(reason: str | Refused) -> str:
    """Return the class of a reason: a label must not grow with what clients send.

    >>> reason_class("Object contains unknown field `colour`")
    'unknown'
    """
    text = str(reason)
    return next((name for sign, name in _CLASSES if sign in text), "other")
