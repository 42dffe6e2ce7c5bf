"""Window: how well a model does lately, measured before it learns, in blocks of what was shown.

The logistic loss of a shown item is log(1 + exp z) - y z: the first term is known when the item is shown, the second
when it is chosen, so blocks add the two as they come. A block's loss is told relative to that of somebody who knows
only how often something is chosen: 1 is no knowledge, and a change of the rate alone is no drift.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK, CHOICES, LONGEST = 256, 10, 4096  # a block is so many shown items and so many choices, but no longer
BLOCKS = 8  # kept: the recent window
SHOWN, CHOSEN, PREDICTED, LOSS, DEFAULT = range(5)  # sums of a block; the default model's loss last
SURE = 100.0  # choices that a correction is drawn towards none by: fewer say little
BINS, WIDTH = 48, 0.25  # of logits, from -6 to 6
FADE = 0.5  # of the histogram, every `FADED` shown items
FADED = 50_000

Test = tuple[int, float, float, float]  # of Page-Hinkley: blocks, mean, sum, least sum


@dataclass
class Window:
    """The recent window of one model; `test` is what its drift test remembers (models/drift.py).

    `shown` and `chosen` count logits by bin.
    """

    block: list[float] = field(default_factory=lambda: [0.0] * 5)
    blocks: list[list[float]] = field(default_factory=list)
    test: Test = (0, 0.0, 0.0, math.inf)
    shown: list[float] = field(default_factory=lambda: [0.0] * BINS)
    chosen: list[float] = field(default_factory=lambda: [0.0] * BINS)

    def show(self, logit: float, default: float) -> float:
        """Count an item that was shown, with the logits that two models gave it; return the default one's chance."""
        block = self.block
        chance, loss = refused(logit)
        block[SHOWN] += 1
        block[PREDICTED] += chance
        block[LOSS] += loss
        chance, loss = refused(default)
        block[DEFAULT] += loss
        self.shown[_bin(logit)] += 1
        return chance

    def choose(self, logit: float, default: float) -> None:
        """Count that a shown item was chosen."""
        block = self.block
        block[CHOSEN] += 1
        block[LOSS] -= logit
        block[DEFAULT] -= default
        self.chosen[_bin(logit)] += 1

    @property
    def whole(self) -> bool:
        """Tell whether the block is full; `turn` then begins the next one."""
        shown = self.block[SHOWN]
        return shown >= BLOCK and (self.block[CHOSEN] >= CHOICES or shown >= LONGEST)

    def turn(self) -> float:
        """Move on to the next block; return the relative loss of the one that ended."""
        block, self.block = self.block, [0.0] * 5
        self.blocks = [*self.blocks, block][-BLOCKS:]
        if sum(self.shown) > FADED:
            self.shown = [count * FADE for count in self.shown]
            self.chosen = [count * FADE for count in self.chosen]
        return relative([block], LOSS)

    def forget(self) -> None:
        """Begin a new window: the model is another one now."""
        self.block, self.blocks, self.test = [0.0] * 5, [], (0, 0.0, 0.0, math.inf)

    @property
    def full(self) -> bool:
        """Tell whether the window says enough to trust or distrust a model."""
        return len(self.blocks) == BLOCKS

    def loss(self) -> float:
        """Return the window's relative loss."""
        return relative(self.blocks, LOSS)

    def default(self) -> float:
        """Return that of the default model."""
        return relative(self.blocks, DEFAULT)

    def correction(self) -> float:
        """Return what to add to logits so that the window's predictions meet what was observed."""
        chosen, predicted = (sum(block[which] for block in self.blocks) for which in (CHOSEN, PREDICTED))
        return math.log((chosen + SURE) / (predicted + SURE))

    def auc(self) -> float:
        """Return how often a chosen item had a higher logit than one shown and not chosen, 0.5 before any of both.

        The chosen stand among the shown, as ties with themselves, and are taken out of them.
        """
        shown, chosen = sum(self.shown), sum(self.chosen)
        if not 0 < chosen < shown:
            return 0.5
        above, wins = 0.0, 0.0
        for among, best in zip(reversed(self.shown), reversed(self.chosen), strict=True):
            wins += among * (above + best / 2)
            above += best
        return min(1.0, max(0.0, (wins / chosen - chosen / 2) / (shown - chosen)))

    def numbers(self) -> list[object]:
        """Return everything as a row holds it."""
        return [self.block, self.blocks, self.test, self.shown, self.chosen]

    @classmethod
    def of(cls, numbers: Sequence[object]) -> "Window":
        """Return what `numbers` was made of."""
        block, blocks, test, shown, chosen = numbers
        return cls(block, blocks, tuple(test), shown, chosen)  # type: ignore[arg-type]


def relative(blocks: Sequence[Sequence[float]], which: int) -> float:
    """Return the loss of blocks over that of their own rate, which is drawn a little towards one in a hundred."""
    shown, chosen = (sum(block[n] for block in blocks) for n in (SHOWN, CHOSEN))
    rate = min((chosen + 0.1) / (shown + 10.0), 0.99)
    entropy = -shown * (rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
    return sum(block[which] for block in blocks) / max(entropy, 1e-9)


def refused(logit: float) -> tuple[float, float]:
    """Return the chance that a logit stands for, and the loss where it does not come true: log(1 + exp(logit)).

    >>> refused(0.0)
    (0.5, 0.6931471805599453)
    """
    if logit < 0.0:
        odds = math.exp(logit)
        return odds / (1.0 + odds), math.log1p(odds)
    odds = math.exp(-logit)
    return 1.0 / (1.0 + odds), logit + math.log1p(odds)


def _bin(logit: float) -> int:
    return max(0, min(BINS - 1, int((logit + 6.0) / WIDTH)))
