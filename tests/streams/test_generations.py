"""Generations: one of them live, switched in one step, never dropped while it is served."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import generations
from streams.errors import StateError
from streams.generations import Generation, Generations
from streams.settings import Settings


def one(number, stage="standby", **more):
    return Generation(number=number, stage=stage, folds={"users": "a", "items": "b"}, **more)


def test_a_generation_has_its_own_names():
    of = one(3, touches=2).of(Settings(namespace="shop"))
    assert of.group("users") == "shop.refold-g3-users"
    assert of.changelog("items") == "shop.refold-g3-items-changelog"
    assert of.topic("touches") == "shop.touches-g2"
    assert of.topic("events") == "shop.events"
    assert one(0).of(Settings()) == Settings()


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["building", "standby", "live"])), max_size=12))
def test_at_most_one_is_live_and_it_is_the_last_that_was_made_so(said):
    held, live = Generations(), None
    for number, stage in said:
        held = held.put(one(number, stage))
        live = number if stage == "live" else None if live == number else live
    assert (held.live.number if held.live else None) == live
    assert [one.number for one in held.all] == sorted({number for number, _ in said})
    assert all(one.stage != "building" for one in held.running)


def test_the_live_one_cannot_be_dropped():
    held = Generations().put(one(0, "live")).put(one(1))
    assert held.drop(1).all == (one(0, "live"),)
    with pytest.raises(StateError, match="generation 0 is live"):
        held.drop(0)
    with pytest.raises(StateError, match="no generation 7 of the state; there are: 0, 1"):
        held.find(7)


def test_a_record_of_another_release_is_refused():
    held = Generations(all=(one(1, "live"),))
    encoded = generations.msgspec.msgpack.encode(held)
    assert generations.decode(encoded) == held
    assert generations.decode(None) == Generations()
    with pytest.raises(StateError, match="version 9"):
        generations.decode(generations.msgspec.msgpack.encode(Generations(v=9)))
    with pytest.raises(StateError, match="cannot be read"):
        generations.decode(b"\xc1")
