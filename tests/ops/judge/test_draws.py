"""Lists drawn as they were shown have the chances that were logged, and every place's chances sum to one."""

import numpy as np

from api.answers import Answer, Placed
from ops.judge.draws import AsShown
from streams.slates import Shown, Slate

SLOT_OF = {"a": 0, "b": 1, "c": 2}


def slate(*items):
    shown = tuple(Shown(item, place, 0.0, 1.0, "ann") for place, item in enumerate(items))
    return Slate(request_id="r", user_id="u", at=1, surface="home", rung="full", items=shown)


def answer(*items):
    placed = tuple(Placed(item_id=item, score=0.0, source="ann") for item in items)
    return Answer(request_id="r", user_id="u", surface="home", rung="full", items=placed)


def test_what_was_shown_is_drawn_and_else_what_stands_there():
    draws = AsShown({"r": slate("a", "c", "gone")}, SLOT_OF)
    slots, chances = np.array([1, 2]), np.array([0.7, 0.3])
    assert draws("r", 1, slots, chances) == 1
    assert draws("r", 0, slots, chances) == 0  # "a" has no chance there
    assert draws("r", 2, slots, chances) == 0  # not known any more
    assert draws("r", 5, slots, chances) == 0  # a longer list than was shown


def test_chances_are_those_drawn_from_and_certainty_elsewhere():
    draws = AsShown({"r": slate("a", "c")}, SLOT_OF)
    draws("r", 1, np.array([1, 2]), np.array([0.7, 0.3]))
    first, second, third = draws.take(answer("a", "c"), 3)
    assert [first.of(slot) for slot in (0, 1, -1)] == [1.0, 0.0, 0.0]
    assert [second.of(slot) for slot in (0, 1, 2)] == [0.0, 0.7, 0.3]
    assert third.of(0) == 0.0  # the answer is shorter than what was shown
    assert len(third.slots) == 0
    again = draws.take(answer("a", "c", "b"), 2)
    assert [one.of(slot) for one, slot in zip(again, (0, 2), strict=True)] == [
        1.0,
        1.0,
    ]  # nothing is left over
