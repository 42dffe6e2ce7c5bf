"""Versions never change, and what is decided about a name is one record."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Refused, StateError
from streams.models import Model, Registry, Stages, decode


def model(version="0123456789ab", **more):
    values = {
        "name": "ranker",
        "kind": "boosted",
        "artifact": f"{version:0<64}",
        "size": 10,
        "features": ("ctr",),
    }
    return Model(version=version, metrics={}, **(values | more))


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["shadow", "live", "retired"])), max_size=12)
)
def test_every_version_has_one_stage_and_one_at_most_is_live(said):
    held, stages = Stages(name="ranker"), {}
    for at, (version, stage) in enumerate(said):
        if stage == "live":
            stages |= {one: "retired" for one, was in stages.items() if was == "live"}
        stages[version] = stage
        held = held.move(version, stage, at)

    assert {version: held.of(version) for version in "abcd"} == {
        version: stages.get(version, "candidate") for version in "abcd"
    }
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(held), type=Stages) == held


def test_back_leads_through_everything_that_was_live():
    held = Stages(name="ranker")
    for at, version in enumerate("abc"):
        held = held.move(version, "live", at)

    for live in ("b", "a", ""):
        held = held.back(9)
        assert held.live == live
    assert [held.of(version) for version in "abc"] == ["retired"] * 3


def test_a_version_that_is_live_again_is_not_before_itself():
    held = Stages(name="ranker").move("a", "live", 1).move("b", "live", 2).move("a", "live", 3)

    assert held.before == ("b",)
    assert held.back(4).live == "b"


def test_decisions_are_kept_with_their_reasons():
    held = Stages(name="ranker").move("a", "live", 7, "a gate was wrong")

    assert (held.made[0].version, held.made[0].reason) == ("a", "a gate was wrong")


def test_a_beginning_that_one_version_has_names_it():
    registry = Registry({one.key: one for one in (model("aaaa11112222"), model("aabb11112222"))})

    assert registry.find("ranker@aab").version == "aabb11112222"
    for wrong in ("ranker@a", "ranker", "other@aa", "ranker@c"):
        with pytest.raises(Refused, match="there are: ranker@aaaa11112222"):
            registry.find(wrong)


def test_records_are_read_by_their_keys():
    one, stages = model(), Stages(name="ranker").move("0123456789ab", "live", 1)
    registry = decode({one.key: msgspec.msgpack.encode(one), "ranker": msgspec.msgpack.encode(stages)})

    assert registry.live("ranker") == one
    assert registry.stage(one) == "live"
    assert registry.live("other") is None


def test_a_record_of_another_release_is_refused():
    with pytest.raises(StateError, match="'ranker' of the models has version 2"):
        decode({"ranker": msgspec.msgpack.encode(Stages(name="ranker", v=2))})
    with pytest.raises(StateError, match="cannot be read"):
        decode({"ranker@1": b"\xc1"})
