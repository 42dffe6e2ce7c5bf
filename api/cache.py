"""Cache: lists ready to be sent again, until their time is over or their user does something."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

from api.answers import Answer
from api.exposed import Exposed

USERS = 50_000
PER_USER = 8


class Entry(NamedTuple):
    """One answer: `tail` is its JSON after the request id; `until` in the engine's seconds.

    `labels` are those under which it is counted, `acts` stand for what the user had done, `exposed` tells of which
    experiments it speaks every time it is served. `waiting`: it was computed ahead, and nobody has asked for it yet.
    """

    until: float
    answer: Answer
    tail: bytes
    labels: dict[str, str]
    acts: Hashable = None
    exposed: Exposed | None = None
    waiting: bool = False


class Cache:
    """Answers by user and key, bounded in users and in answers of one; the user unused longest goes first."""

    def __init__(self, users: int = USERS, per_user: int = PER_USER) -> None:
        self._most, self._per_user = users, per_user
        self._of: OrderedDict[str, dict[Hashable, Entry]] = OrderedDict()

    def get(self, user: str, key: Hashable, now: float, *, stale: bool = False) -> Entry | None:
        """Return an answer that is still good, or, if `stale`, one past its time for want of a better one."""
        answers = self._of.get(user)
        entry = None if answers is None else answers.get(key)
        if entry is None or (entry.until <= now and not stale):
            return None
        self._of.move_to_end(user)
        return entry

    def put(self, user: str, key: Hashable, entry: Entry) -> None:
        """Keep an answer."""
        answers = self._of.setdefault(user, {})
        self._of.move_to_end(user)
        answers.pop(key, None)
        answers[key] = entry
        if len(answers) > self._per_user:
            del answers[next(iter(answers))]
        if len(self._of) > self._most:
            self._of.popitem(last=False)

    def forget(self, user: str, acts: Hashable = None) -> None:
        """Drop the answers of a user, unless they were made when the user had done just this."""
        if any(entry.acts != acts for entry in self._of.get(user, {}).values()):
            del self._of[user]

    def clear(self) -> None:
        """Drop everything."""
        self._of.clear()

    def __contains__(self, user: str) -> bool:
        return user in self._of

    def __len__(self) -> int:
        return len(self._of)
