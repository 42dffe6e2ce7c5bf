"""Trails: what each user chose, in order, out of a history; and the version of a model trained on them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import msgspec
import numpy as np

from models import calibration
from models.blended import READ, Blend, Blended, Reader
from models.features import COLUMN, Floats
from models.ranker import BASE, Lineup
from models.sequence import SequenceModel
from models.surfaces import Surface
from ops.progress import Begin
from ops.train import vectors
from ops.train.blends import fit_blend
from ops.train.card import measured as figures_of
from ops.train.card import span_of
from ops.train.history import History
from ops.train.moments import Past
from ops.train.rows import Rows
from ops.train.scene import Scene
from ops.train.sequence import Plan, Trail, measured, train_sequence
from ops.train.train import CANDIDATES, SPANS, STACK, counted, gathered, latency, measure
from streams.artifacts import name_of
from streams.models import Model, version_of
from streams.settings import Settings

LATER = {name: SPANS[name] for name in ("valid", "test")}
LEARNED = SPANS["train"][1]  # the share of a history that trails are of
LIMITS = (
    "It knows the items it was trained with; others are ranked by the stack alone. It reads the order of choices: "
    "neither their times nor what the items are. It ranks what retrieval finds, and it ages: train again when new "
    "items have become many."
)


@dataclass(frozen=True)
class Learned:
    """A model and the keys of its items in its order; `facts` are what a card says of the training."""

    keys: Sequence[str]
    model: Reader
    facts: Mapping[str, Any]


Learn = Callable[[int], Learned]  # from what was known before a time (ms)


def trails(history: History, before: float = np.inf) -> tuple[list[str], list[Trail]]:
    """Return item keys, and the trail of every user as indices into them, oldest first, of what was known before (ms).

    An item counts where it was chosen for the first time: what a user knows is not what they are shown.
    """
    slots: dict[str, int] = {}
    chosen: dict[str, dict[int, None]] = {}
    for said in takewhile(lambda said: said.at < before, history.read()):
        if said.event is not None and said.wanted and said.event.item_id:
            slot = slots.setdefault(said.event.item_id, len(slots))
            chosen.setdefault(said.event.user, {}).setdefault(slot)
    return list(slots), [np.array(list(own), np.int32) for own in chosen.values()]


def train_trails(
    past: Past, settings: Settings, weights: Mapping[str, float], surface: Surface, *, learn: Learn,
    seed: int, live: Blended | None, at: int, begin: Begin,
) -> tuple[Model, bytes]:  # fmt: skip
    """Return a version (made at `at`, ms) and its artifact, not stored yet, measured on the last fifth of a history.

    It is named after its kind, and compared with `live`, or with the online stack where no version is live. Raises
    Refused as `learn`, `gathered` and `fit_blend` do.
    """
    said = counted(past)
    learned = learn(past.time(int(LEARNED * said)))
    keys, model = learned.keys, learned.model
    seen = Blended(keys, model, Blend(0.0, 0.0, 0.0), calibration.Platt())
    last: list[Lineup] = []

    def see(lineup: Lineup) -> Floats:
        last[:] = [lineup]
        score = lineup.rows[:, COLUMN[BASE]]
        logits = seen.logits([lineup.keys[slot] for slot in lineup.slots.tolist()], lineup.after)
        return np.column_stack([score, logits, score if live is None else live.sums(lineup)]).astype(
            np.float32
        )

    rows = gathered(past, said, Scene(weights, settings.dimensions), surface, LATER, seed, begin, see)
    valid, test = rows["valid"], rows["test"]
    blend = fit_blend(valid)
    curve = calibration.platt(_sums(blend, valid), valid.labels)
    ranker = Blended(keys, model, blend, curve)
    scores, other = _sums(blend, test), test.matrix[:, 2].astype(np.float64)
    found = measure(test, scores, other, curve, latency(lambda: ranker.score(_many(last[0]))))
    artifact = ranker.pack()
    name = name_of(artifact)
    version = Model(
        name=model.kind, version=version_of(name), kind=model.kind, artifact=name, size=len(artifact), features=READ,
        against=live.version if live is not None else STACK, span=past.span, data=past.data, made_at=at, **found,
    )  # fmt: skip
    return msgspec.structs.replace(version, card=_card(version, learned.facts, blend)), artifact


def learn_sequence(history: History, plan: Plan, tell: Callable[[str], None]) -> Learn:
    """Return what learns a sequence model from a history; it raises as `train_sequence` does."""

    def learn(before: float) -> Learned:
        keys, people = trails(history, before)
        trained = train_sequence(people, len(keys), plan, tell)
        return Learned(keys, SequenceModel.of(trained.arrays), trained.facts)

    return learn


def learn_vectors(history: History, plan: vectors.Plan, tell: Callable[[str], None]) -> Learn:
    """Return what learns item vectors from a history; it raises as `train_vectors` does."""

    def learn(before: float) -> Learned:
        choices = vectors.Held(*trails(history, before))
        return Learned(choices.keys, *vectors.train_vectors(choices, plan, tell))

    return learn


def train_last_out(history: History, plan: Plan, tell: Callable[[str], None]) -> dict[str, Any]:
    """Learn all but each user's last choice, and return what the model alone is worth on those; raises Refused."""
    keys, people = trails(history)
    last = [(trail[:-1], int(trail[-1])) for trail in people if len(trail) > 1]
    trained = train_sequence([trail for trail, _ in last], len(keys), plan, tell)
    metrics = measured(SequenceModel.of(trained.arrays), last)
    return {"published": False, "metrics": metrics, "facts": trained.facts | {"choices_measured": len(last)}}


def _sums(blend: Blend, rows: Rows) -> calibration.Doubles:
    return blend.sums(rows.matrix[:, 0], rows.matrix[:, 1])


def _many(lineup: Lineup) -> Lineup:
    """Return a lineup of a thousand candidates, however many it had."""
    of = np.arange(CANDIDATES) % len(lineup.slots)
    return Lineup(lineup.rows[of], lineup.slots[of], lineup.keys, lineup.after)


def _card(model: Model, facts: Mapping[str, Any], blend: Blend) -> str:
    made = datetime.fromtimestamp(model.made_at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    told = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    parts = [
        f"# {model.key}",
        f"A model of kind {model.kind} beside the online stack: its logit weighs {blend.weight:g}. Made {made}.",
        "## Data",
        span_of(model),
        f"Trails are of the first {LEARNED:.0%}; the weight was chosen on the next tenth, and the last fifth measures.",
        *figures_of(model),
        "## Training",
        told,
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"
