"""Training of the sequence model: cross-entropy over sampled items, on one core, the same arrays from one seed.

Klenitskiy and Vasilev 2023 ("Turning dross into gold loss") is why cross-entropy; negatives are drawn once a step
and weighed by how likely each was drawn. What a person had chosen in the window is no negative, as it is no
candidate when ranked. What serves is the running mean of the weights; the epoch that ranks best on the last
choices of some people, held out, is kept.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.evaluation import hit_rate, ndcg, rank_of
from models.sequence import Floats, SequenceModel
from streams.errors import Refused

Trail = npt.NDArray[np.int32]  # items by index, oldest first
Batch = tuple[Trail, Trail, Floats]

FEWEST_USERS = 20
MOST_HELD = 2_000  # people whose last choice tells when to stop
HELD = 4  # one in so many is one of them
SHARES = (4, 2, 1)  # windows come in lengths of these parts of the longest
SHORTEST = 8


@dataclass(frozen=True)
class Plan:
    """How to train; the defaults were chosen on held-out choices of MovieLens-1M."""

    width: int = 64
    blocks: int = 1
    heads: int = 1
    window: int = 128  # items of a trail that count
    newest: int = 200  # choices of a person that are learned from
    dropout: float = 0.1
    negatives: int = 512
    tokens: int = 2_048  # choices learned at a time
    rate: float = 3e-3  # at first; it falls to nothing in a straight line
    epochs: int = 16
    patience: int = 4  # epochs without a better one until it stops
    seed: int = 1


@dataclass(frozen=True)
class Trained:
    """Arrays by name, metrics on the held-out choices, and what a model card says of the training."""

    arrays: dict[str, Floats]
    metrics: dict[str, float]
    facts: dict[str, Any]


def train_sequence(
    sequences: Sequence[Trail], items: int, plan: Plan, tell: Callable[[str], None]
) -> Trained:
    """Train on what each person chose, oldest first, as indices below `items`; `tell` hears of every epoch.

    Raises Refused for too little data, and where the package that trains is not installed.
    """
    try:
        from ops.train import attention  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as missing:
        raise Refused(f"{missing}; training a sequence model needs: pip install refold[deep]") from None
    people = [np.asarray(one, np.int32) for one in sequences if len(one) > 1]
    if len(people) < FEWEST_USERS:
        raise Refused(f"{len(people)} people chose two items or more; a sequence model needs {FEWEST_USERS}")
    wrong = [int(index) for one in people for index in (one.min(), one.max()) if not 0 <= index < items]
    if wrong:
        raise Refused(f"item {wrong[0]} is none of the {items} items, which count from 0")
    rng = np.random.default_rng(plan.seed)
    some = rng.permutation(len(people))[: min(MOST_HELD, len(people) // HELD)]
    held = [(people[n][:-1], int(people[n][-1])) for n in some]
    for n in some:
        people[n] = people[n][:-1]
    people = [one[-plan.newest - 1 :] for one in people]
    counts = np.bincount(np.concatenate(people), minlength=items)
    initial = _initial(plan, counts)
    state, step = attention.stepper(initial, counts, plan.dropout, plan.negatives, plan.seed)
    best: dict[str, Floats] = {}
    metrics: dict[str, float] = {}
    epoch, kept, steps = 0, 0, 0
    while epoch < plan.epochs and epoch - kept < plan.patience:
        epoch += 1
        begun, loss, batches = time.monotonic(), 0.0, _batches(people, plan, rng)
        for n, batch in enumerate(batches):
            left = 1.0 - (epoch - 1 + n / len(batches)) / plan.epochs
            state, lost = step(state, batch, steps, plan.rate * left)
            loss += lost
            steps += 1
        arrays = {name: np.asarray(array) for name, array in state[2].items()}
        found = measured(SequenceModel.of(arrays), held)
        tell(
            f"epoch {epoch} of at most {plan.epochs}: loss {float(loss) / len(batches):.4f}, held-out HR@10 "
            f"{found['hr@10']:.4f}, NDCG@10 {found['ndcg@10']:.4f}; {time.monotonic() - begun:.0f} s"
        )
        if not best or found["ndcg@10"] > metrics["ndcg@10"]:
            best, metrics, kept = arrays, found, epoch
    facts = {**asdict(plan), "users": len(people), "items": items, "choices": int(counts.sum())}
    return Trained(best, metrics, facts | {"held_out": len(held), "run_epochs": epoch, "kept_epoch": kept})


def measured(model: SequenceModel, held: Sequence[tuple[Trail, int]]) -> dict[str, float]:
    """Return HR@10 and NDCG@10 over all items but those of the trail, by the code that serves.

    `held` are trails, oldest first, and what came next.
    """
    vectors = model.places()
    ranks = [rank_of(vectors @ model.query(trail[::-1]), item, np.unique(trail)) for trail, item in held]
    found = np.array(ranks, np.int32)
    return {"hr@10": hit_rate(found, 10), "ndcg@10": ndcg(found, 10)}


def _initial(plan: Plan, counts: npt.NDArray[np.int64]) -> dict[str, Floats]:
    rng = np.random.default_rng(plan.seed)
    d, b, m = plan.width, plan.blocks, 2 * plan.width

    def normal(*shape: int, size: float) -> Floats:
        return rng.standard_normal(shape, np.float32) * np.float32(size)

    often = np.log(counts + 1.0)
    far = np.arange(plan.window, dtype=np.float32)
    slopes = np.linspace(0.1, 0.01, plan.heads, dtype=np.float32)  # the first head looks at the newest
    return {
        "item": normal(len(counts), d, size=d**-0.5),
        "bias": (often - often.mean()).astype(np.float32),
        "scale": np.ones((2 * b + 2, d), np.float32),
        "mix": normal(b, d, 3 * d, size=d**-0.5),
        "merge": normal(b, d, d, size=0.5 * d**-0.5),
        "lag": np.tile(-slopes[:, None] * far, (b, 1, 1)),
        "up": normal(b, d, m, size=d**-0.5),
        "down": normal(b, m, d, size=0.5 * m**-0.5),
    }


def _batches(people: Sequence[Trail], plan: Plan, rng: np.random.Generator) -> list[Batch]:
    """Return windows of all trails, in batches of one length and equal size: items, what came next, and 1 or 0."""
    lengths = sorted({min(plan.window, max(SHORTEST, plan.window // share)) for share in SHARES})
    windows: dict[int, list[Trail]] = {length: [] for length in lengths}
    for trail in people:
        for window in _windows(trail, plan.window, rng):
            windows[next(length for length in lengths if length >= len(window) - 1)].append(window)
    batches = []
    for length, found in windows.items():
        size = max(1, plan.tokens // length)
        order = rng.permutation(len(found))
        for first in range(0, len(found), size):
            trails, nexts = np.zeros((2, size, length), np.int32)
            real = np.zeros((size, length), np.float32)
            for row, n in enumerate(order[first : first + size]):
                window = found[n]
                end = len(window) - 1
                trails[row, :end], nexts[row, :end], real[row, :end] = window[:-1], window[1:], 1.0
            batches.append((trails, nexts, real))
    return [batches[n] for n in rng.permutation(len(batches))]


def _windows(trail: Trail, longest: int, rng: np.random.Generator) -> Iterator[Trail]:
    """Yield parts of a trail, each of one item more than is learned from it, cut at another place every time."""
    end = len(trail) - 1
    cut = end - int(rng.integers(longest)) if end > longest else end
    if 0 < cut < end:
        yield trail[cut:]
    while cut > 0:
        yield trail[max(0, cut - longest) : cut + 1]
        cut -= longest
