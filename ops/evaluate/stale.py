"""Stale: what it costs when the learned state that ranks is some seconds behind the events."""

from copy import deepcopy

from models.evaluation import MISS, rank_of
from models.learned import Learned
from ops.evaluate.judge import Due, Judge, score
from ops.evaluate.paired import Paired

EVERY = 500  # predictions from one copy to the next, or as many as there are items: copying stays cheap
MOST = 100  # predictions judged by one copy


class Stale:
    """Keeps a copy of the learned state for a while, and judges with it what happens `seconds` of event time later.

    Users are as fresh as ever, as they are to the API, which folds a user's own events itself.
    """

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.paired = Paired()
        self._copy: Learned | None = None
        self._taken = 0  # ms
        self._since = self._left = 0

    def predict(self, judge: Judge, due: Due, rank: int) -> None:
        """Judge with the copy, if it is old enough by now, what the fresh state gave `rank`."""
        self._since += 1
        if self._copy is None:
            if self._since >= max(EVERY, judge.items):
                self._copy, self._taken, self._since, self._left = deepcopy(judge.learned), due.at, 0, MOST
            return
        behind = due.at - self._taken
        if behind < self.seconds * 1000:
            return
        self.paired.add(rank, _rank(self._copy, judge, due))
        self._left -= 1
        if not self._left or behind > 2000 * self.seconds:
            self._copy = None


def _rank(copy: Learned, judge: Judge, due: Due) -> int:
    target = copy.slot_of.get(due.item)
    if target is None:
        return MISS
    own = judge.own(due.user)
    return rank_of(score(copy, due.after, due.known, due.before), target, own[own < len(copy.keys)])
