"""Laws of words on experiments: of two that follow the same one the first counts, and the past can be asked."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.control import hear
from streams.errors import StateError
from streams.experiments import (
    Arm,
    Decision,
    Definition,
    Holdout,
    Known,
    Metric,
    Record,
    Step,
    decode,
    encode,
    stands,
)

ARMS = {"a": Arm(), "b": Arm(set={"diversity": 0.5})}


def definition(**more):
    return Definition(**({"key": "e", "arms": ARMS, "control": "a"} | more))


def record(revision=1, **more):
    return Record(**({"key": "e", "revision": revision, "versions": (definition(),)} | more))


def test_words_survive_the_wire():
    word = record(decided=(Decision("running", 5, "why", "me"),), state="running")
    holdout = Holdout(revision=2, share=0.1)
    assert decode({"e": encode(word), "holdout": encode(holdout)}) == Known({"e": word}, holdout)


@given(st.lists(st.integers(1, 6), max_size=12))
def test_every_reader_takes_the_first_of_words_that_follow_the_same(revisions):
    said, counted = {}, []
    for number, revision in enumerate(revisions):
        word = encode(record(revision, key=f"e{number}"))
        hear(said, "e", word, stands)
        if said["e"] == word:
            counted.append(revision)
    assert counted == list(range(counted[0], counted[0] + len(counted))) if counted else not revisions


def test_a_word_said_again_changes_nothing():
    first, second, other = (encode(record(n, key=key)) for n, key in ((1, "e"), (2, "f"), (2, "g")))
    said = {}
    for word in (first, second, other, second, first):
        hear(said, "e", word, stands)
    assert said == {"e": second}
    assert stands(None, other) == other  # what compaction left
    assert stands(second, None) is None


@pytest.mark.parametrize("value", [b"", b"\xc1", msgspec.msgpack.encode({"v": 1}), encode(record(v=9))])
def test_what_another_release_wrote_is_named(value):
    with pytest.raises(StateError, match="'e' of the experiments"):
        decode({"e": value})


def test_a_past_time_has_the_version_that_ran_then():
    versions = tuple(definition(version=n, at=at) for n, at in ((1, 10), (2, 40)))
    states = (("draft", 10), ("running", 20), ("stopped", 30), ("draft", 40), ("running", 50))
    word = record(versions=versions, decided=tuple(Decision(*one) for one in states))
    ran = {at: found and found.version for at in (5, 10, 20, 29, 30, 45, 50, 99) for found in [word.at(at)]}
    assert ran == {5: None, 10: None, 20: 1, 29: 1, 30: None, 45: None, 50: 2, 99: 2}


def test_the_share_of_a_ramp():
    ramp = definition(ramp=(Step(10, 0.1), Step(20, 0.5), Step(30, 0.0)))
    assert [ramp.share(at) for at in (9, 10, 19, 20, 30)] == [0.0, 0.1, 0.1, 0.5, 0.0]
    assert definition().share(0) == 1.0


def test_what_is_measured():
    metrics = {
        "ctr": Metric(of="click", per="lists", primary=True),
        "revenue": Metric(of="purchase.value@cart"),
        "days": Metric(of="days"),
    }
    assert definition(metrics=metrics).measures == (
        "lists", "click", "purchase.value@cart", "days", "pre.click", "pre.purchase",
    )  # fmt: skip
    assert definition(metrics=metrics, covariate=False).measures == (
        "lists", "click", "purchase.value@cart", "days",
    )  # fmt: skip
    assert definition(kind="interleaved").measures == ("lists", "prefers")
