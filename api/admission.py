"""Admission: how much work is taken in; the rest is turned away at once, while turning away is cheap."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from starlette.types import Scope

from api.metrics import Metrics
from api.problems import Problem

ARRIVED = "refold.arrived"  # in the scope: perf_counter() when the server had read the request
WAIT_SECONDS = 0.05  # a request that waited longer for its turn is one of too many


class Admission:
    """A gate for one kind of work: at most `most` at once, none that has waited too long."""

    def __init__(self, name: str, most: int, metrics: Metrics) -> None:
        self._most = most
        self._inside = 0
        self._shed = metrics.shed.labels(name)

    @contextmanager
    def enter(self, scope: Scope) -> Iterator[None]:
        """Let a request in; raises Problem 503 when there is no room."""
        arrived = scope.get(ARRIVED)
        if self._inside >= self._most or (arrived is not None and perf_counter() - arrived > WAIT_SECONDS):
            self._shed.inc()
            raise Problem(
                503, "overload", "more requests than this process can answer in time; try again shortly"
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
