"""A boosted ranker serves what was trained, or names what is wrong with it."""

from hashlib import sha256

import msgspec
import numpy as np
import pytest

from models.arrays import pack, unpack
from models.boosted import Boosted
from models.calibration import Platt
from models.features import COLUMN, NAMES
from models.ranker import Lineup
from models.trees import of_lightgbm
from streams.errors import StateError
from streams.models import Model, version_of

READ = (NAMES[3], NAMES[1])


def tree(feature, threshold, low, high):
    split = {"decision_type": "<=", "missing_type": "None", "threshold": threshold, "split_feature": feature}
    return {
        "tree_structure": split | {"left_child": {"leaf_value": low}, "right_child": {"leaf_value": high}}
    }


@pytest.fixture
def ranker():
    trees = of_lightgbm({"tree_info": [tree(0, 0.5, -1.0, 1.0), tree(1, 2.0, 0.0, 3.0)]}, 2)
    return Boosted(READ, trees, Platt(2.0, -1.0))


def recorded(data, **more):
    artifact = sha256(data).hexdigest()
    values = {"name": "ranker", "kind": "boosted", "artifact": artifact, "features": READ, "metrics": {}}
    return Model(**({"version": version_of(artifact), "size": len(data)} | values | more))


def lineup(matrix):
    return Lineup(matrix, np.arange(len(matrix)), (), ())


def test_it_reads_its_columns_of_the_matrix(ranker):
    matrix = np.zeros((4, len(NAMES)), dtype=np.float32)
    matrix[1, COLUMN[READ[0]]] = 1.0
    matrix[2, COLUMN[READ[1]]] = 3.0

    assert ranker.score(lineup(matrix)) == pytest.approx(
        1 / (1 + np.exp(-(2 * np.array([-1, 1, 2, -1]) - 1)))
    )


def test_what_was_packed_scores_alike(ranker):
    data = ranker.pack()
    again = Boosted.of(recorded(data), data)
    matrix = np.random.default_rng(0).normal(1, 2, (50, len(NAMES))).astype(np.float32)

    assert (again.score(lineup(matrix)) == ranker.score(lineup(matrix))).all()
    assert again.version == recorded(data).version
    assert again.pack() == data


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "vectors"}, "recorded is 'vectors'"),
        ({"version": "ffffffffffff"}, "the version is not that of the artifact"),
        ({"features": READ[::-1]}, "recorded are"),
    ],
)
def test_another_record_than_the_artifact_is_refused_by_name(ranker, wrong, said):
    data = ranker.pack()

    with pytest.raises(StateError, match=r"ranker@\w+ cannot be served: .*" + said):
        Boosted.of(recorded(data, **wrong), data)


def repacked(ranker, kind="boosted", arrays=(), **more):
    _, said, held = unpack(ranker.pack())
    return pack(kind, said | more, held | dict(arrays))


def test_other_artifacts_are_refused_by_name(ranker):
    harmed = [
        (repacked(ranker, kind="ones"), "'ones'"),
        (repacked(ranker, slope=-1.0), "does not rise"),
        (repacked(ranker, slope=float("nan")), "does not rise"),
        (repacked(ranker, features=["horoscope", "ctr"]), "recorded are"),
        (repacked(ranker, arrays={"starts": np.array([0, 99])}), "do not fit together"),
        (repacked(ranker, arrays={"nodes": np.array([5])}), "do not fit together"),
        (ranker.pack()[:-3], "not a trained model"),
        (pack("boosted", {"features": list(READ)}, {}), "lacks 'nodes'"),
    ]
    for data, said in harmed:
        with pytest.raises(StateError, match=r"ranker@\w+ cannot be served: .*" + said):
            Boosted.of(recorded(data), data)


def test_a_feature_of_another_release_is_named(ranker):
    data = repacked(ranker, features=["horoscope", "ctr"])

    with pytest.raises(StateError, match="does not have: horoscope"):
        Boosted.of(recorded(data, features=("horoscope", "ctr")), data)


def test_arrays_that_are_not_what_they_say_are_refused(ranker):
    packed = msgspec.msgpack.decode(ranker.pack())
    for place, value in ((0, "|O"), (1, [10**9]), (1, [-1])):
        harmed = msgspec.msgpack.decode(msgspec.msgpack.encode(packed))
        harmed["arrays"]["nodes"][place] = value
        with pytest.raises(StateError, match="array 'nodes'"):
            unpack(msgspec.msgpack.encode(harmed))
    with pytest.raises(StateError, match="version 2"):
        unpack(msgspec.msgpack.encode(packed | {"v": 2}))
    with pytest.raises(StateError, match="has dtype"):
        pack("x", {}, {"a": np.array(["text"])})
