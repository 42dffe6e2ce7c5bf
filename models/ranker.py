"""Ranker: the full tier, what a model of the registry makes of the candidates of a request."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.arrays import Array, unpack
from models.features import Floats
from streams.errors import StateError
from streams.models import Model, version_of

BASE = "relevance"  # the online stack's log-score, which every ranker starts from


@dataclass(frozen=True, slots=True)
class Lineup:
    """The candidates of a request, as a ranker sees them.

    `rows` (n, len(NAMES)) are their features, `slots` (n,) say which of `keys` each one is; `after` are the keys of
    what the asker chose, newest first.
    """

    rows: Floats
    slots: npt.NDArray[np.integer]
    keys: Sequence[str]
    after: Sequence[str]


class Ranker(Protocol):
    """Gives each candidate the chance that it is chosen."""

    @property
    def version(self) -> str:
        """The version of the registry."""

    def score(self, lineup: Lineup) -> Floats:
        """Return the chance of each candidate, shape (n,)."""


@contextmanager
def opened(model: Model, data: bytes) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Array]]]:
    """Open a version's artifact: what it says, and its arrays; any StateError, here or inside, names the version."""
    try:
        yield _verified(model, data)
    except StateError as error:
        raise StateError(f"{model.key} cannot be served: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(f"{model.key} cannot be served: its artifact lacks {error}") from None


def _verified(model: Model, data: bytes) -> tuple[Mapping[str, Any], Mapping[str, Array]]:
    kind, said, arrays = unpack(data)
    if kind != model.kind:
        raise StateError(f"the artifact is {kind!r}, recorded is {model.kind!r}")
    if model.version != version_of(model.artifact):
        raise StateError(f"the version is not that of the artifact, {version_of(model.artifact)}")
    return said, arrays
