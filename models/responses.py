"""Responses: what people do with what they are shown, a model for each action, learned from the join's examples."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from models.features import NAMES
from models.online import AT_PLACE, Default, Model, bucket, seen_less
from models.rings import digest
from models.scale import Doubles, Scale
from models.scorer import Scorer, light
from streams.examples import Seen, digest_of
from streams.rows import pack, unpack

VERSION = 1
MODELS = 16  # actions that are learned
KNOWN = 4096  # ids of examples; the same one within these is learned once
LARGEST = 1e6  # of a feature; beyond it is a fault of whoever computed it
HERE = digest_of(NAMES)
LEARNED, AGAIN, FOREIGN, REFUSED = range(
    4
)  # what a tally counts: examples, those known, other features, not finite


class Responses:
    """The models of one shard, over one scale of the features."""

    def __init__(self) -> None:
        packaged = light()
        self.scale = Scale(len(NAMES))
        self.models = {
            action: Model(
                Default(packaged.weights[:, n].astype(np.float64), float(packaged.bias[n])), self.scale
            )
            for n, action in enumerate(packaged.actions)
        }
        self.tally = [0, 0, 0, 0]
        self._known: dict[bytes, None] = {}  # ids in the order they came

    def learn(self, seen: Seen) -> None:
        """Learn what became known of a slate, row by row: places seen, then choices."""
        if seen.features != HERE:
            self.tally[FOREIGN] += 1
            return
        rows = np.frombuffer(seen.matrix, "<f4").reshape(len(seen.rows), len(NAMES)).astype(np.float64)
        if not (np.abs(rows) < LARGEST).all():
            self.tally[REFUSED] += 1
            return
        fresh = [place for place in seen.fresh if self._new(seen.request, "", place)]
        chosen = [each for each in seen.chosen if self._new(seen.request, *each)]
        self.tally[LEARNED] += len(fresh) + len(chosen)
        for action, _ in chosen:
            if action not in self.models and len(self.models) < MODELS:
                self.models[action] = Model(
                    Default(np.zeros(len(NAMES)), -math.log(self.scale.count + 2.0)), self.scale
                )
        at = {place: n for n, place in enumerate(seen.rows)}
        scaled = self.scale.apply(rows)
        lift = {action: (rows * model.default.weights).sum(axis=1) for action, model in self.models.items()}
        for place in fresh:
            x = _named(scaled[at[place]], place)
            for action, model in self.models.items():
                default = float(lift[action][at[place]]) + model.default.bias + seen_less(place)
                model.show(x, default, self.scale)
        for action, place in chosen:
            if (found := self.models.get(action)) is not None:
                x = _named(scaled[at[place]], place)
                default = float(lift[action][at[place]]) + found.default.bias + seen_less(place)
                found.choose(x, default, self.scale)
        self._rescale(rows[[at[place] for place in fresh]])

    def _rescale(self, rows: Doubles) -> None:
        before = self.scale.count
        self.scale.learn(rows)
        if (old := self.scale.adopt(before)) is not None:
            for model in self.models.values():
                model.rescale(old, self.scale)

    def _new(self, request: bytes, action: str, place: int) -> bool:
        example = digest(f"{request.hex()}\n{action}\n{place}", 8)
        if example in self._known:
            self.tally[AGAIN] += 1
            return False
        self._known[example] = None
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]
        return True

    def row(self) -> bytes:
        """Return everything as bytes."""
        models = {action: model.numbers() for action, model in self.models.items()}
        return pack(VERSION, (HERE, self.scale.numbers(), models, b"".join(self._known), self.tally))

    @classmethod
    def from_row(cls, row: bytes) -> "Responses":
        """Return what a row says, or a new one where the features were others or nothing was learned yet."""
        responses = cls()
        if not row:
            return responses
        features, scale, models, known, tally = unpack(VERSION, row)
        if features == HERE:
            responses.scale = Scale.of(*scale)
            responses.models = {
                action: Model.of(numbers, responses.scale) for action, numbers in models.items()
            }
            responses._known = {known[at : at + 8]: None for at in range(0, len(known), 8)}
            responses.tally = tally
        return responses

    def compiled(self) -> Scorer:
        """Return a scorer that predicts what the models do, for an item at the first place."""
        return merged([self])

    def report(self) -> Mapping[str, Mapping[str, float | bool]]:
        """Return by action what is learned and how well; losses relative to knowing only the rate."""
        return {
            action: {
                "shown": model.shown, "chosen": model.chosen, "served": model.trusted, "rolled_back": model.rolled,
                "loss": model.watch.loss(), "default_loss": model.watch.default(), "auc": model.watch.auc(),
                "correction": model.watch.correction(),
            }
            for action, model in self.models.items()
        }  # fmt: skip


def merged(shards: Sequence[Responses]) -> Scorer:
    """Return the scorer of all shards: the mean of their weights, each as far as it has seen an action chosen."""
    actions = list(dict.fromkeys(action for shard in shards for action in shard.models))
    weights = np.zeros((len(NAMES), len(actions)))
    bias = np.zeros(len(actions))
    for n, action in enumerate(actions):
        parts = [(shard.models[action], shard.scale) for shard in shards if action in shard.models]
        trusted = [part for part in parts if part[0].trusted] or parts
        whole = sum(model.chosen + 1 for model, _ in trusted)
        for model, scale in trusted:
            share = (model.chosen + 1) / whole
            column, constant = model.compiled(scale)
            weights[:, n] += share * column
            bias[n] += share * constant
    return Scorer(actions, weights.astype(np.float32), bias.astype(np.float32))


def scorer_of(rows: Sequence[bytes]) -> Scorer:
    """Return the scorer of the shards' rows; the packaged one where nothing was learned."""
    learned = [Responses.from_row(row) for row in rows if row]
    return merged(learned) if learned else light()


def _named(row: Doubles, place: int) -> dict[str, float]:
    x = dict(zip(NAMES, row.tolist(), strict=True))
    if (key := bucket(place)) is not None:
        x[key] = AT_PLACE
    return x
