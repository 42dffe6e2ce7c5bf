"""Training of item vectors: the leading eigenvectors of what was chosen by the same people, by block iteration.

The choices are only ever asked for their product with a block of columns, so that any engine can hold them, and one
start gives the same vectors in all of them but for rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from models.vectors import Vectors
from streams.errors import Refused

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Trail = npt.NDArray[np.int32]  # items by index, oldest first

FEWEST_USERS = 20
BUSY = 0.5  # the power of a person's number of choices that takes from each of them
POPULAR = 0.3  # and of an item's
MORE = 16  # axes that iterate along so that the wanted ones settle sooner


@dataclass(frozen=True)
class Plan:
    """How to train; the defaults were chosen on the tenth after the first seven of MovieLens-100K."""

    width: int = 64
    rounds: int = 12
    seed: int = 1


class Choices(Protocol):
    """What people chose, wherever it is held."""

    @property
    def keys(self) -> Sequence[str]:
        """The items, in the order of their first choices."""

    @property
    def users(self) -> int:
        """How many people chose two items or more; nobody else counts."""

    @property
    def counts(self) -> Counts:
        """How many of them chose each item, shape (items,)."""

    def times(self, block: Doubles) -> Doubles:
        """Return the product of the items' common choices, each by its user's `share`, with a block (items, k)."""


class Held:
    """Choices in memory: a row a person."""

    def __init__(self, keys: Sequence[str], people: Sequence[Trail]) -> None:
        trails = [trail for trail in people if len(trail) > 1]
        self.keys, self.users = keys, len(trails)
        self._matrix = matrix(trails, len(keys))
        self.counts = np.bincount(self._matrix.indices, minlength=len(keys)).astype(np.int64)

    def times(self, block: Doubles) -> Doubles:
        """Return the product of common choices with a block (items, k)."""
        return common(self._matrix, block)


def matrix(trails: Sequence[Trail], items: int) -> "csr_array[np.float64]":
    """Return trails as rows (people, items): what was chosen has the root of one's share."""
    lengths = np.array([len(trail) for trail in trails], np.int64)
    indices = np.concatenate([*trails, np.zeros(0, np.int32)])
    shares = np.repeat(np.maximum(lengths, 1) ** (-BUSY / 2), lengths)
    return csr_array((shares, indices, np.concatenate([[0], lengths.cumsum()])), shape=(len(trails), items))


def common(rows: "csr_array[np.float64]", block: Doubles) -> Doubles:
    """Return how often items were chosen by the same people, times a block (items, k)."""
    return np.asarray(rows.T @ (rows @ block), np.float64)


def train_vectors(
    choices: Choices, plan: Plan, tell: Callable[[str], None]
) -> tuple[Vectors, dict[str, Any]]:
    """Return vectors and what a model card says of them; `tell` hears of every round. Raises Refused for too little."""
    if choices.users < FEWEST_USERS:
        raise Refused(f"{choices.users} people chose two items or more; item vectors need {FEWEST_USERS}")
    counts, items = choices.counts, len(choices.keys)
    width = min(plan.width, items)
    down = np.maximum(counts, 1)[:, None] ** -POPULAR
    block = np.random.default_rng(plan.seed).standard_normal((items, min(items, width + MORE)))
    for turn in range(plan.rounds):
        basis, _ = np.linalg.qr(block)
        block = down * choices.times(down * basis)
        tell(f"round {turn + 1} of {plan.rounds}: strength {np.linalg.norm(block):.4f}")
    strengths, turned = np.linalg.eigh(basis.T @ block)
    strengths, axes = strengths[::-1][:width], (basis @ turned)[:, ::-1][:, :width]
    kept = strengths > strengths[0] * 1e-6  # fewer people than axes
    strengths, axes = strengths[kept], axes[:, kept]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    roots = np.sqrt(strengths)
    item = axes * roots / down
    item *= np.sqrt(item.shape[1] / (item * item).sum(1).mean())
    model = Vectors(*(np.asarray(one, np.float32) for one in (item, down[:, 0] ** 2, 1.0 / roots)))
    facts = asdict(plan) | {"users": choices.users, "items": items, "choices": int(counts.sum())}
    return model, facts | {"axes": axes.shape[1]}
