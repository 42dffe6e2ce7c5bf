"""Scale: features brought to mean 0 and deviation 1, by what was seen of them up to a power of two.

Between two powers it stands still, so a model changes its weights with it seldom, and keeps what it says: `adopt`
returns the old means and deviations for that.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
FIRST = 64  # rows before the features are scaled at all
LEAST = 1e-3  # of a deviation: what hardly varies is not blown up


@dataclass
class Scale:
    """Sums over rows seen, and the mean and deviation in force; all (features,)."""

    width: int
    count: int = 0
    sums: Doubles = field(init=False)
    squares: Doubles = field(init=False)
    mean: Doubles = field(init=False)
    deviation: Doubles = field(init=False)

    def __post_init__(self) -> None:
        self.sums, self.squares, self.mean = (np.zeros(self.width) for _ in range(3))
        self.deviation = np.ones(self.width)

    def apply(self, rows: Doubles) -> Doubles:
        """Return rows scaled, shape (n, features)."""
        scaled: Doubles = (rows - self.mean) / self.deviation
        return scaled

    def learn(self, rows: Doubles) -> None:
        """Take rows into the sums."""
        self.count += len(rows)
        self.sums += rows.sum(axis=0)
        self.squares += (rows * rows).sum(axis=0)

    def adopt(self, before: int) -> tuple[Doubles, Doubles] | None:
        """Put the sums in force once they hold twice as much as when they last were; return what was in force.

        `before` is the count before the last `learn`.
        """
        if self.count < FIRST or before.bit_length() == self.count.bit_length():
            return None
        old = self.mean, self.deviation
        self.mean = self.sums / self.count
        deviation = np.sqrt(np.maximum(self.squares / self.count - self.mean**2, 0.0))
        self.deviation = np.where(deviation < LEAST, 1.0, deviation)
        return old

    def numbers(self) -> list[object]:
        """Return everything as a row holds it."""
        arrays = np.concatenate([self.sums, self.squares, self.mean, self.deviation])
        return [self.width, self.count, arrays.tobytes()]

    @classmethod
    def of(cls, width: int, count: int, arrays: bytes) -> "Scale":
        """Return what `numbers` was made of."""
        scale = cls(width, count)
        parts = np.frombuffer(arrays).reshape(4, width).copy()
        scale.sums, scale.squares, scale.mean, scale.deviation = parts
        return scale
