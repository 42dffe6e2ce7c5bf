"""Registered: a model of the registry, judged beside the online stack on the same predictions."""

from collections.abc import Sequence

import numpy as np

from models.evaluation import MISS, rank_of
from models.ranker import KIND as BOOSTED
from models.ranker import Ranker
from models.sequence import KIND as SEQUENCE
from models.sequence import SequenceModel, places, query, unpacked
from ops.evaluate.judge import Judge
from ops.evaluate.paired import Paired
from streams import artifacts
from streams.errors import Refused
from streams.models import Registry
from streams.settings import Settings


class BySequence:
    """Ranks all items that a sequence model knows, but the user's own, after everything they chose."""

    def __init__(self, keys: Sequence[str], model: SequenceModel) -> None:
        self.paired = Paired()
        self._index = {key: n for n, key in enumerate(keys)}
        self._model, self._places = model, places(model)

    def predict(self, judge: Judge, user: str, after: Sequence[str], item: str, at: int, rank: int) -> None:  # noqa: ARG002
        """Rank by the model what the stack gave `rank`."""
        keys = judge.learned.keys
        chosen = (self._index.get(keys[slot]) for slot in judge.own(user).tolist())
        own = np.array([n for n in chosen if n is not None], np.int64)
        target = self._index.get(item)
        scores = self._places @ query(self._model, own[::-1])
        self.paired.add(rank, MISS if target is None else rank_of(scores, target, own))


def loaded(settings: Settings, registry: Registry, key: str) -> Ranker | BySequence:
    """Return a version `name@version`, or the live one of a name; raises Refused, StateError, Unavailable."""
    model = registry.find(key) if "@" in key else registry.live(key)
    if model is None:
        raise Refused(
            f"--model {key}: no version of that name is live; `refold models list` names all versions"
        )
    data = artifacts.load(settings, model.artifact, model.size)
    if model.kind == BOOSTED:
        return Ranker.of(model, data)
    if model.kind == SEQUENCE:
        return BySequence(*unpacked(data))
    raise Refused(f"--model {key}: a model of kind {model.kind!r} ranks nothing by itself")
