"""A blend of stack and sequence model ranks what it knows by both, the rest by the stack; what is wrong is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn

from models.arrays import pack, unpack
from models.blended import READ, Blend, Blended
from models.calibration import Platt
from models.features import COLUMN, NAMES
from models.ranker import Lineup
from models.sequence import SequenceModel
from streams.artifacts import name_of
from streams.errors import StateError
from streams.models import Model, version_of
from tests.models.test_sequence import arrays

KEYS = [f"i{n}" for n in range(7)]


def blended(weight=0.7, level=0.5, rise=0.25):
    return Blended(KEYS, SequenceModel.of(arrays()), Blend(weight, level, rise), Platt(0.5, -1.0))


def by_bias(keys, *bias, weight=1.0):
    """Return a ranker whose sequence model reads nothing of the trail."""
    named = {name: np.zeros_like(array) for name, array in arrays(items=len(bias)).items()}
    return Blended(
        list(keys), SequenceModel.of({**named, "bias": np.float32(bias)}), Blend(weight, 0.0, 0.0), Platt()
    )


def lineup(keys, relevance, after=("i2", "i5")):
    rows = np.zeros((len(keys), len(NAMES)), np.float32)
    rows[:, COLUMN["relevance"]] = relevance
    return Lineup(rows, np.arange(len(keys)), keys, after)


def recorded(data, **more):
    artifact = name_of(data)
    values = {"name": "sequence", "kind": "sequence", "artifact": artifact, "features": READ, "metrics": {}}
    return Model(**({"version": version_of(artifact), "size": len(data)} | values | more))


def test_a_score_is_the_stacks_and_the_weighed_logit():
    ranker, model = blended(), SequenceModel.of(arrays())
    logits = model.places()[[3, 0]] @ model.query(np.array([2, 5]))

    sums = ranker.sums(lineup(["i3", "i0"], [1.0, -2.0]))

    assert sums == pytest.approx(np.array([1.0, -2.0]) + 0.7 * logits, abs=1e-5)
    assert ranker.score(lineup(["i3", "i0"], [1.0, -2.0])) == pytest.approx(ranker.curve.chance(sums))


def test_an_unknown_item_has_the_logit_that_its_score_lets_expect():
    sums = blended().sums(lineup(["new", "i0", "newer"], [2.0, 0.0, -1.0]))

    assert sums[[0, 2]] == pytest.approx([2.0 + 0.7 * (0.5 + 0.5), -1.0 + 0.7 * (0.5 - 0.25)])


def test_what_is_unknown_in_a_trail_is_passed_over():
    ranker = blended()
    known = ranker.logits(KEYS, ["i2", "i5"])
    assert (ranker.logits(KEYS, ["new", "i2", "newer", "i5"]) == known).all()


@given(drawn(np.float32, 6, elements=st.floats(-50, 50, width=32)))
def test_after_nothing_it_knows_it_ranks_as_the_stack_does(relevance):
    sums = blended().sums(lineup(KEYS[:6], relevance, after=("new",)))
    assert (np.diff(sums[np.argsort(relevance)]) >= 0).all()


@given(st.permutations(range(7)))
def test_a_score_does_not_depend_on_the_other_candidates(order):
    relevance = np.linspace(-1, 1, 7, dtype=np.float32)
    ranker = blended()
    alone = [ranker.sums(lineup([KEYS[n]], [relevance[n]]))[0] for n in order]
    together = ranker.sums(lineup([KEYS[n] for n in order], relevance[order]))
    assert together == pytest.approx(alone, abs=1e-5)


def test_what_was_packed_scores_alike():
    data = blended().pack()
    again = Blended.of(recorded(data), data)
    asked = lineup([*KEYS, "new"], np.arange(8))

    assert (again.score(asked) == blended().score(asked)).all()
    assert again.version == recorded(data).version
    assert again.pack() == data


def repacked(kind="sequence", changed=(), **more):
    _, said, held = unpack(blended().pack())
    return pack(kind, said | more, held | dict(changed))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (repacked(kind="boosted"), "the artifact is 'boosted', recorded is 'sequence'"),
        (repacked(items=[1] * 7), "a list `items` of strings"),
        (repacked(items=KEYS[:-1]), "of 7 items names 6"),
        (repacked(items=["a"] * 7), "of 7 items names 1"),
        (repacked(weight=-1.0), "turns the order"),
        (repacked(weight=1.0, rise=-1.5), "turns the order"),
        (repacked(level=float("nan")), "turns the order"),
        (repacked(slope=0.0), "does not rise"),
        (repacked(changed={"bias": np.zeros(6, np.float32)}), r"'bias' is float32 \(6,\)"),
        (repacked(changed={"more": np.zeros(6, np.float32)}), "more"),
        (repacked(changed={"bias": np.full(7, np.nan, np.float32)}), "not finite"),
        (repacked(changed={"scale": np.full((6, 8), 3e38, np.float32)}), "not finite"),
        (pack("sequence", {"items": KEYS}, arrays()), "lacks 'weight'"),
        (blended().pack()[:-9], "not a trained model"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers that grow beyond all bounds
def test_an_artifact_that_is_none_is_refused_by_name(data, said):
    with pytest.raises(StateError, match=r"sequence@\w+ cannot be served: .*" + said):
        Blended.of(recorded(data), data)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "boosted"}, "recorded is 'boosted'"),
        ({"version": "ffffffffffff"}, "the version is not that of the artifact"),
        ({"features": ()}, r"recorded are \(\)"),
    ],
)
def test_another_record_than_the_artifact_is_refused_by_name(wrong, said):
    data = blended().pack()
    with pytest.raises(StateError, match=r"sequence@\w+ cannot be served: .*" + said):
        Blended.of(recorded(data, **wrong), data)
