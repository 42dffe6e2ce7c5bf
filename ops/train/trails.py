"""Trails: what each user chose, in order, out of a history; and the version of a sequence model trained on them."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from models.sequence import KIND, SequenceModel, packed
from ops.train.history import History
from ops.train.sequence import Plan, Trail, measured, train_sequence
from streams.artifacts import name_of
from streams.models import Model, version_of

NAME = "sequence"


def trails(history: History) -> tuple[list[str], list[Trail]]:
    """Return item keys, and the trail of every user as indices into them, oldest first.

    An item counts where it was chosen for the first time: what a user knows is not what they are shown.
    """
    slots: dict[str, int] = {}
    chosen: dict[str, dict[int, None]] = {}
    for said in history.read():
        if said.event is not None and said.wanted and said.event.item_id:
            slot = slots.setdefault(said.event.item_id, len(slots))
            chosen.setdefault(said.event.user, {}).setdefault(slot)
    return list(slots), [np.array(list(own), np.int32) for own in chosen.values()]


def train_trails(
    history: History, plan: Plan, at: int, tell: Callable[[str], None], *, leave_last_out: bool = False
) -> tuple[Model, bytes]:
    """Return a version (made at `at`, ms) and its artifact, not stored yet; raises as `train_sequence` does.

    With `leave_last_out` nothing is learned from each user's last choice, and the version is measured on those.
    """
    keys, people = trails(history)
    last = [(trail[:-1], int(trail[-1])) for trail in people if leave_last_out and len(trail) > 1]
    trained = train_sequence([trail for trail, _ in last] or people, len(keys), plan, tell)
    metrics = measured(SequenceModel.of(trained.arrays), last) if last else trained.metrics
    artifact = packed(keys, trained.arrays)
    name = name_of(artifact)
    choices = (
        f"the last choices of {len(last)} users, which it never saw"
        if last
        else (f"the last choices of {trained.facts['held_out']} users, which also told when to stop")
    )
    model = Model(
        name=NAME, version=version_of(name), kind=KIND, artifact=name, size=len(artifact), features=(),
        metrics=metrics, span=history.span, data=history.data, made_at=at,
        card=_card(trained.facts, metrics, choices, at),
    )  # fmt: skip
    return model, artifact


def _card(facts: Mapping[str, Any], metrics: Mapping[str, float], choices: str, at: int) -> str:
    made = datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    told = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    figures = "\n".join(f"- {name}: {value:.4f}" for name, value in metrics.items())
    return (
        f"# A sequence model\n\nMade {made}.\n\n## Training\n\n{told}\n\n## Figures\n\nOn {choices}:\n\n{figures}\n\n"
        "## Limits\n\nIt knows the items it was trained with. It reads the order of choices alone: neither their times "
        "nor what the items are.\n"
    )
