"""Stages: where the time of one request goes, and whether its budget is spent."""

from collections.abc import Callable

Clock = Callable[[], float]  # seconds, never going back


class Stopwatch:
    """The laps of one request in seconds; `budget` is what it may take."""

    __slots__ = ("_began", "_budget", "_clock", "_last", "laps")

    def __init__(self, clock: Clock, budget: float) -> None:
        self._clock, self._budget = clock, budget
        self._began = self._last = clock()
        self.laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Count the time since the last lap to a stage."""
        now = self._clock()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self._last
        self._last = now

    def spent(self, share: float = 1.0) -> bool:
        """Tell whether a share of the budget is spent."""
        return self._clock() - self._began > self._budget * share

    def milliseconds(self) -> dict[str, float]:
        """Return the laps in milliseconds."""
        return {stage: round(seconds * 1000.0, 3) for stage, seconds in self.laps.items()}
