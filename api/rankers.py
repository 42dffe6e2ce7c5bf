"""Rankers: models of the registry, as a request sees them."""

from typing import Protocol

from models.features import Floats
from models.ranker import Lineup, Ranker


class Rankers(Protocol):
    """What the ladder asks; api/registry.py follows the real ones."""

    def live(self, name: str, /) -> Ranker | None:
        """Return the live ranker of a name."""

    def scored(self, name: str, lineup: Lineup, scores: Floats, /) -> None:
        """Hear how a request's candidates were scored (n,), so that shadows can score them too."""


class Fixed:
    """Rankers that were handed in, and no shadows."""

    def __init__(self, **live: Ranker) -> None:
        self._live = live

    def live(self, name: str) -> Ranker | None:
        """Return the live ranker of a name."""
        return self._live.get(name)

    def scored(self, name: str, lineup: Lineup, scores: Floats) -> None:
        """Compare nothing."""


NONE_LIVE = Fixed()
