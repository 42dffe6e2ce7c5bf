"""Teacher: learns from the join's examples what people do with what they are shown, a model for each action."""

import math

import numpy as np

from models.action import AT_PLACE, Action, bucket, seen_less
from models.features import NAMES
from models.online import Model
from models.responses import AGAIN, FOREIGN, HERE, KNOWN, LEARNED, MODELS, REFUSED, Responses
from models.rings import digest
from models.scale import Doubles
from streams.examples import Seen

LARGEST = 1e6  # of a feature; beyond it is a fault of whoever computed it


class Teacher:
    """Folds examples into a `Responses`; the same ones in the same order leave the same bytes."""

    def __init__(self, responses: Responses) -> None:
        self.responses = responses
        self.models = {name: Model(action, responses.scale) for name, action in responses.actions.items()}

    def row(self) -> bytes:
        """Return the bytes of what is learned."""
        for model in self.models.values():
            model.settle()
        return self.responses.row()

    def learn(self, seen: Seen) -> None:
        """Learn what became known of a slate, row by row: places seen, then choices."""
        responses, tally = self.responses, self.responses.tally
        if seen.features != HERE:
            tally[FOREIGN] += 1
            return
        rows = np.frombuffer(seen.matrix, "<f4").reshape(len(seen.rows), len(NAMES)).astype(np.float64)
        if not (np.abs(rows) < LARGEST).all():
            tally[REFUSED] += 1
            return
        fresh = [place for place in seen.fresh if self._new(seen.request, "", place)]
        chosen = [each for each in seen.chosen if self._new(seen.request, *each)]
        tally[LEARNED] += len(fresh) + len(chosen)
        for name, _ in chosen:
            self._know(name)
        at = {place: n for n, place in enumerate(seen.rows)}
        scaled = responses.scale.apply(rows)
        leans = {
            name: (scaled * (action.prior * responses.scale.deviation)).sum(axis=1).tolist()
            for name, action in responses.actions.items()
        }
        for place in fresh:
            x = _named(scaled[at[place]], place)
            for name, model in self.models.items():
                model.show(x, leans[name][at[place]], seen_less(place))
        for name, place in chosen:
            if name in self.models:
                x = _named(scaled[at[place]], place)
                self.models[name].choose(x, leans[name][at[place]], seen_less(place))
        self._rescale(rows[[at[place] for place in fresh]])

    def _know(self, name: str) -> None:
        actions, scale = self.responses.actions, self.responses.scale
        if name not in actions and len(actions) < MODELS:
            actions[name] = Action(np.zeros(len(NAMES)), -math.log(scale.count + 2.0))
            self.models[name] = Model(actions[name], scale)

    def _rescale(self, rows: Doubles) -> None:
        scale = self.responses.scale
        before = scale.count
        scale.learn(rows)
        if (old := scale.adopt(before)) is not None:
            for model in self.models.values():
                model.rescale(old)

    def _new(self, request: bytes, action: str, place: int) -> bool:
        known = self.responses.known
        example = digest(f"{request.hex()}\n{action}\n{place}", 8)
        if example in known:
            self.responses.tally[AGAIN] += 1
            return False
        known[example] = None
        if len(known) > KNOWN:
            del known[next(iter(known))]
        return True


def _named(row: Doubles, place: int) -> dict[str, float]:
    x = dict(zip(NAMES, row.tolist(), strict=True))
    if (key := bucket(place)) is not None:
        x[key] = AT_PLACE
    return x
