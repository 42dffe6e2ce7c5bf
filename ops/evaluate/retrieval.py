"""Retrieval: what is lost when lists come from the serving engine instead of from ranking every item."""

from api.answers import Answer
from models.evaluation import MISS
from models.ranker import Ranker
from ops.evaluate.judge import Due, Judge
from ops.evaluate.paired import Paired
from ops.evaluate.served import FULL, LIGHT, Served
from ops.evaluate.world import World


class Retrieval:
    """Asks the engine for each `every`-th of what was ranked exactly.

    `candidates` loses what is not among the candidates, ranked as exactly as the rest; `engine` is the list served,
    `full` the one that a `ranker` of the registry makes, if there is one.
    """

    def __init__(self, world: World, every: int, ranker: Ranker | None = None) -> None:
        self.candidates, self.engine = Paired(), Paired()
        self.full = Paired() if ranker is not None else None
        self._served = Served(world, ranker)
        self._every = every
        self._seen = 0

    def predict(self, judge: Judge, due: Due, rank: int) -> None:
        """Ask the engine, if it is its turn, for what was given `rank`."""
        self._seen += 1
        if self._seen % self._every:
            return
        served, n = self._served, judge.ks[-1]
        served.follow(due.at)
        slot = served.tables.columns.slot_of.get(due.item, -1)
        found = slot in served.candidates(due.user, due.at, n).slots
        self.candidates.add(rank, rank if found else MISS)
        self.engine.add(rank, _place(served.answer(due.user, due.at, n, LIGHT), due.item))
        if self.full is not None:
            self.full.add(rank, _place(served.answer(due.user, due.at, n, FULL), due.item))


def _place(answer: Answer, item: str) -> int:
    places = {placed.item_id: place for place, placed in enumerate(answer.items, 1)}
    return places.get(item, MISS)
