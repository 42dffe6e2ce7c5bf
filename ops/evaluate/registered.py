"""Registered: a model of the registry, judged beside the online stack on the same predictions."""

import numpy as np

from models.blended import Blended
from models.boosted import Boosted
from models.evaluation import MISS, rank_of
from models.rankers import ranker_of
from ops.evaluate.judge import Due, Judge, score
from ops.evaluate.paired import Paired
from streams import artifacts
from streams.errors import Refused
from streams.models import Registry
from streams.settings import Settings


class ByBlend:
    """Ranks all items but the user's own by a sequence model and the stack together."""

    def __init__(self, ranker: Blended) -> None:
        self.paired = Paired()
        self._ranker = ranker

    def predict(self, judge: Judge, due: Due, rank: int) -> None:
        """Rank by the model what the stack gave `rank`."""
        learned, ranker = judge.learned, self._ranker
        target = learned.slot_of.get(due.item)
        by_stack = score(learned, due.after, due.known, due.before)
        scores = ranker.blend.sums(by_stack, ranker.logits(learned.keys, due.after))
        ranked = MISS if target is None else rank_of(scores.astype(np.float32), target, judge.own(due.user))
        self.paired.add(rank, ranked)


def loaded(settings: Settings, registry: Registry, key: str) -> Boosted | Blended:
    """Return a version `name@version`, or the live one of a name; raises Refused, StateError, Unavailable."""
    model = registry.find(key) if "@" in key else registry.live(key)
    if model is None:
        raise Refused(
            f"--model {key}: no version of that name is live; `refold models list` names all versions"
        )
    return ranker_of(model, artifacts.load(settings, model.artifact, model.size))
