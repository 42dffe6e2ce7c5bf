"""The past answers as of then, whether it was replayed to then or went on from before."""

import msgspec
import numpy as np
import pytest

from api.answers import Request
from api.travel import OfItem, OfList, OfUser, Past, answered
from models.surfaces import load
from ops.past.engine import NONE, Moment, Then, engine_of
from ops.past.replay import advance, replay
from ops.state.scratch import Scratch
from streams.experiments import Arm, Decision, Definition, Known, Record
from tests.ops.past.world import STEP


@pytest.fixture
def past(world, tmp_path):
    """Make the past of a moment."""
    made = []

    def make(at, known=NONE):
        on = world.ground(tmp_path / "snapshots")
        done = replay(on, at, tmp_path / f"then-{len(made)}")
        scratch = Scratch(tmp_path / f"then-{len(made)}", on.identity)
        made.append(scratch)
        then = Then(scratch, on.settings)
        then.settle(at)
        return Past(at, engine_of(then.state, load(), Moment(known, at)), done.manifest.positions)

    yield make
    for scratch in made:
        scratch.close()


def test_it_answers_as_of_then(world, past):
    told = []
    for at in (world.half, world.now):
        then = past(at)
        asked = Request(at=at, user_id="user-1", n=10, explain=True)
        questions = (OfUser("user-1"), OfItem("item-1"), OfList(asked))
        user, item, listed = (msgspec.json.decode(answered(then, question)) for question in questions)
        assert answered(then, OfUser("nobody")) is None
        assert answered(then, OfItem("nothing")) is None
        for said in (user, item, listed):
            assert said["as_of"] == at
            assert (
                msgspec.convert(said["positions"], dict[str, dict[int, int]], strict=False) == then.positions
            )
        assert user["at"] == at
        assert (listed["rung"], len(listed["items"]), listed["state"]["lag"]) == ("full", 10, 0)
        told.append((user, item, listed))
    before, after = told
    assert sum(before[0]["totals"].values()) < sum(after[0]["totals"].values())
    assert before[1]["totals"] != after[1]["totals"]
    assert before[2]["state"]["user_offset"] < after[2]["state"]["user_offset"]
    assert [item["score"] for item in before[2]["items"]] != [item["score"] for item in after[2]["items"]]


def test_a_question_survives_its_way_to_a_child():
    asked = Request(at=5, user_id="u", context={"country": "de"}, exclude=("i",))
    for question in (OfUser("u\n"), OfItem("i"), OfList(asked)):
        line = msgspec.json.encode(question)
        assert b"\n" not in line
        assert msgspec.json.decode(line, type=OfUser | OfItem | OfList) == question


def test_the_same_request_is_answered_alike_and_anew(world, past):
    then = past(world.half)
    asked = Request(at=world.half, user_id="user-1", n=10, request_id="r")
    first, again = (then.engine.recommend(asked) for _ in range(2))
    assert first == again
    assert first.rung == "full"


def test_an_arm_brings_neither_haste_nor_a_cache(world, past):
    hasty = Arm(set={"ttl_s": 9.0, "budget_ms": 0.001, "diversity": 0.3})
    tried = Definition(key="e", arms={"a": hasty}, control="a")
    record = Record(key="e", state="running", versions=(tried,), decided=(Decision("running", 1),))
    then = past(world.half, Known({"e": record}))
    answers = [then.engine.recommend(Request(at=world.half, user_id="user-1")) for _ in range(2)]
    assert [answer.rung for answer in answers] == ["full", "full"]
    assert answers[0].arms == {"e": "a"}


def test_what_goes_on_shows_what_was_replayed_to_there(world, tmp_path):
    on = world.ground(tmp_path / "snapshots")
    replay(on, world.half, tmp_path / "on")
    replay(on, world.now, tmp_path / "at once")
    with Scratch(tmp_path / "on", on.identity) as one, Scratch(tmp_path / "at once", on.identity) as other:
        moved, there = Then(one, on.settings), Then(other, on.settings)
        moved.settle(world.half)
        assert len(moved.tables.popular("all", world.half)[0])
        for until in range(world.half, world.now + STEP, 9 * STEP):
            advance(on, moved.tables.rows, until)
            moved.settle(until)
        advance(on, moved.tables.rows, world.now)
        for then in (moved, there):
            then.settle(world.now)
        mine, theirs = moved.tables.columns, there.tables.columns
        assert sorted(mine.ids) == sorted(theirs.ids)
        order, their_order = ([c.slot_of[item] for item in sorted(c.ids)] for c in (mine, theirs))
        for name in (
            "chosen",
            "examined",
            "ctr",
            "last_at",
            "terms",
            "tiles",
            "choices",
        ):
            assert np.array_equal(
                getattr(mine, name)[order], getattr(theirs, name)[their_order], equal_nan=True
            )
        assert np.array_equal(mine.totals.at(world.now), theirs.totals.at(world.now))
        y, their_y = (then.state.vectors.y for then in (moved, there))
        assert np.allclose(y[order], their_y[their_order], atol=2e-3)
        for context in ("all", "category:kind-1", "surface:home", "country:de"):
            (slots, values), (others, sums) = (
                then.tables.popular(context, world.now) for then in (moved, there)
            )
            assert [mine.ids[slot] for slot in slots] == [theirs.ids[slot] for slot in others]
            assert np.array_equal(values, sums)
        for user in ("user-1", "user-7"):
            assert moved.tables.user(user).row() == there.tables.user(user).row()
