"""Admission: how much work is taken in; the rest is turned away at once, while turning away is cheap."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from starlette.types import Scope

from api.metrics import Metrics
from api.problems import Problem

ARRIVED = "refold.arrived"  # in the scope: perf_counter() when the server had read the request
WAIT_SECONDS = 0.05  # waiting longer for its turn is too long,
INTERVAL_SECONDS = 0.5  # once every request did so for this long: a single pause turns nobody away


class Admission:
    """A gate for one kind of work: at most `most` at once, and none while all have long waited too long.

    The rule is CoDel's (Nichols and Jacobson 2012): a queue is bad when it stands, not when it is long for a
    moment.
    """

    def __init__(self, name: str, most: int, metrics: Metrics) -> None:
        self._most = most
        self._inside = 0
        self._late_since = self._late_last = float("-inf")
        self._shed = metrics.shed.labels(name)

    @contextmanager
    def enter(self, scope: Scope) -> Iterator[None]:
        """Let a request in; raises Problem 503 when there is no room."""
        if self._inside >= self._most or self._standing(scope.get(ARRIVED)):
            self._shed.inc()
            raise Problem(
                503, "overload", "more requests than this process can answer in time; try again shortly"
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _standing(self, arrived: float | None) -> bool:
        now = perf_counter()
        if arrived is None or now - arrived <= WAIT_SECONDS:
            self._late_last = float("-inf")
            return False
        if now - self._late_last > INTERVAL_SECONDS:
            self._late_since = now  # the first late one after a timely one, or after nobody came
        self._late_last = now
        return now - self._late_since > INTERVAL_SECONDS
