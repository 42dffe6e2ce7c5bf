"""Responses: what a shard has learned of what people do with what they are shown; and the scorer it comes to.

It is read here without River, which a process that only serves need not load. models/teacher.py learns.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from models.action import Action
from models.features import NAMES
from models.scale import Scale
from models.scorer import Scorer, light
from streams.examples import digest_of
from streams.rows import pack, unpack

VERSION = 1
MODELS = 16  # actions that are learned
KNOWN = 4096  # ids of examples; the same one within these is learned once
HERE = digest_of(NAMES)
LEARNED, AGAIN, FOREIGN, REFUSED = range(
    4
)  # what a tally counts: examples, those known, other features, not finite


class Responses:
    """The actions of one shard, over one scale of the features; `known` are ids in the order they came."""

    def __init__(self) -> None:
        packaged = light()
        self.scale = Scale(len(NAMES))
        self.actions = {
            name: Action(packaged.weights[:, n].astype(np.float64), float(packaged.bias[n]))
            for n, name in enumerate(packaged.actions)
        }
        self.tally = [0, 0, 0, 0]
        self.known: dict[bytes, None] = {}

    def row(self) -> bytes:
        """Return everything as bytes."""
        actions = {name: action.numbers() for name, action in self.actions.items()}
        return pack(VERSION, (HERE, self.scale.numbers(), actions, b"".join(self.known), self.tally))

    @classmethod
    def from_row(cls, row: bytes) -> "Responses":
        """Return what a row says, or a new one where nothing was learned yet, or of other features."""
        responses = cls()
        if not row:
            return responses
        features, scale, actions, known, tally = unpack(VERSION, row)
        if features == HERE:
            responses.scale = Scale.of(*scale)
            responses.actions = {name: Action.of(*numbers) for name, numbers in actions.items()}
            responses.known = {known[at : at + 8]: None for at in range(0, len(known), 8)}
            responses.tally = tally
        return responses

    def report(self) -> Mapping[str, Mapping[str, float | bool]]:
        """Return by action what is learned and how well; losses relative to knowing only the rate."""
        return {
            name: {
                "shown": action.shown, "chosen": action.chosen, "served": action.trusted, "rolled_back": action.rolled,
                "loss": action.window.loss(), "default_loss": action.window.default(), "auc": action.window.auc(),
                "correction": action.window.correction(),
            }
            for name, action in self.actions.items()
        }  # fmt: skip


def merged(shards: Sequence[Responses]) -> Scorer:
    """Return the scorer of all shards: the mean of their weights, each as far as it has seen an action chosen."""
    names = list(dict.fromkeys(name for shard in shards for name in shard.actions))
    weights = np.zeros((len(NAMES), len(names)))
    bias = np.zeros(len(names))
    for n, name in enumerate(names):
        parts = [(shard.actions[name], shard.scale) for shard in shards if name in shard.actions]
        trusted = [part for part in parts if part[0].trusted] or parts
        whole = sum(action.chosen + 1 for action, _ in trusted)
        for action, scale in trusted:
            share = (action.chosen + 1) / whole
            column, constant = action.compiled(scale)
            weights[:, n] += share * column
            bias[n] += share * constant
    return Scorer(names, weights, bias)


def scorer_of(rows: Sequence[bytes]) -> Scorer:
    """Return the scorer of the shards' rows; the packaged one where nothing was learned."""
    learned = [Responses.from_row(row) for row in rows if row]
    return merged(learned) if learned else light()
