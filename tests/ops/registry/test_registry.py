"""Gates hold a version back by name; promotion and rollback are one decision each."""

from hashlib import sha256

import numpy as np
import pytest

from models.boosted import Boosted
from models.calibration import Platt
from models.features import NAMES
from models.trees import Trees
from ops.registry.gates import GATES, held_by
from ops.registry.registry import differing, listed, promote, rollback, shown
from streams import artifacts
from streams.errors import Refused, StateError
from streams.models import Model, Registry, Slice, version_of
from streams.settings import Settings

GOOD = {"ndcg@10": 0.11, "hr@10": 0.2, "coverage@10": 0.5, "calibration_error": 0.1, "latency_ms": 1.0}


@pytest.fixture
def settings(tmp_path):
    return Settings(artifacts=str(tmp_path))


@pytest.fixture
def make(settings):
    """Store a ranker and return its record; `leaf` makes it another version."""

    def made(leaf=1.0, **more):
        trees = Trees(
            np.array([0x7F800000 << 32]), np.array([leaf]), np.zeros(1, np.int64), np.zeros(1, np.int64), 1
        )
        data = Boosted(NAMES[:1], trees, Platt()).pack()
        artifact = sha256(data).hexdigest()
        assert artifacts.save(settings, data) == artifact
        values = {"metrics": GOOD, "against": "the online stack", "compared": GOOD, "made_at": int(leaf)}
        return Model(
            name="ranker", version=version_of(artifact), kind="boosted", artifact=artifact, size=len(data),
            features=NAMES[:1], **(values | more),
        )  # fmt: skip

    return made


def registry_of(*models, live=""):
    registry = Registry({one.key: one for one in models})
    return with_live(registry, live) if live else registry


def with_live(registry, live):
    return Registry(registry.models, {"ranker": registry.of("ranker").move(live, "live", 1)})


def test_a_good_version_passes_every_gate(make):
    assert held_by(registry_of(one := make()), one) == []


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("quality", {"ndcg@10": 0.10}),
        ("quality", {"ndcg@10": float("nan")}),
        ("calibration", {"calibration_error": 0.3}),
        ("latency", {"latency_ms": 4.0}),
        ("coverage", {"coverage@10": 0.4}),
    ],
)
def test_the_gate_that_holds_back_is_named_with_figure_and_bound(make, name, figure):
    one = make(metrics=GOOD | figure)

    (reason,) = held_by(registry_of(one), one)

    assert reason.startswith(f"{name}: ")
    assert f"{next(iter(figure.values())):.4g}" in reason
    assert "is asked" in reason


def test_a_harmed_slice_holds_back_when_it_is_large_enough(make):
    harmed = {"tail": Slice(500, 0.05, 0.08), "after_0": Slice(20, 0.0, 0.5), "head": Slice(500, 0.2, 0.1)}
    one = make(slices=harmed)

    assert held_by(registry_of(one), one) == ["slices: ndcg@10 of tail is 0.05, at least 0.072 is asked"]


def test_what_was_not_measured_holds_back(make):
    one = make(metrics={}, compared={})

    assert [reason.partition(":")[0] for reason in held_by(registry_of(one), one)] == [
        gate.name for gate in GATES if gate.name != "slices"
    ]


def test_a_version_measured_against_one_that_is_gone_is_held_back(make):
    old, one = make(1.0), make(2.0)

    (reason,) = held_by(registry_of(old, one, live=old.version), one)

    assert reason.startswith("compared: it was measured against the online stack")


def test_promotion_refuses_and_names_all_gates(settings, make):
    one = make(metrics=GOOD | {"ndcg@10": 0.01, "latency_ms": 9.0})

    with pytest.raises(Refused, match=r"not promoted: quality: .*; latency: .*--force"):
        promote(settings, registry_of(one), one.key, "live", 5)


def test_a_reason_overrules_and_is_recorded(settings, make):
    one = make(metrics=GOOD | {"latency_ms": 9.0})

    stages, done = promote(settings, registry_of(one), one.key, "live", 5, "the machine was busy")

    assert stages.live == one.version
    assert stages.made[-1].reason == "the machine was busy"
    assert done["overruled"][0].startswith("latency")


def test_shadows_need_no_gates_and_the_live_one_stays(settings, make):
    live, one = make(1.0), make(2.0, metrics={})
    registry = registry_of(live, one, live=live.version)

    stages, _ = promote(settings, registry, one.key, "shadow", 5)

    assert (stages.live, stages.shadow) == (live.version, (one.version,))


def test_the_same_stage_again_is_refused(settings, make):
    one = make()
    with pytest.raises(Refused, match="is live already"):
        promote(settings, registry_of(one, live=one.version), one.key, "live", 5)


@pytest.mark.parametrize("stage", ["live", "shadow"])
def test_an_artifact_that_is_not_what_was_trained_is_not_promoted(settings, make, tmp_path, stage):
    one = make()
    (tmp_path / one.artifact).write_bytes(b"x" * one.size)

    with pytest.raises(StateError, match="not what its SHA-256 says"):
        promote(settings, registry_of(one), one.key, stage, 5)


def test_rollback_returns_to_the_version_before_or_to_none(settings, make):
    first, second = make(1.0), make(2.0)
    registry = with_live(registry_of(first, second, live=first.version), second.version)

    back, done = rollback(settings, registry, "ranker", 9, "worse")
    assert done == {"model": "ranker", "live": first.version, "retired": second.version}
    assert back.made[-1].reason == "worse"

    none, done = rollback(settings, Registry(registry.models, {"ranker": back}), "ranker", 10)
    assert (none.live, done["live"]) == ("", "")
    with pytest.raises(Refused, match="no version of 'ranker' is live"):
        rollback(settings, Registry(registry.models, {"ranker": none}), "ranker", 11)


def test_lists_and_cards_say_stage_and_gates(make):
    old, one = make(1.0), make(2.0, card="# a card", slices={"tail": Slice(5, 0.1, 0.2)})
    registry = registry_of(old, one, live=old.version)

    assert [(said["model"], said["stage"]) for said in listed(registry)] == [
        (one.key, "candidate"),
        (old.key, "live"),
    ]
    said = shown(registry, one.key)
    assert said["card"] == "# a card"
    assert said["held_by"]
    assert said["slices"] == {"tail": {"choices": 5, "ndcg": 0.1, "compared": 0.2}}


def test_a_difference_says_features_and_figures(make):
    old, one = make(1.0), make(2.0, metrics=GOOD | {"hr@10": 0.3})

    said = differing(registry_of(old, one), old.key, one.key)

    assert said["metrics"] == {"hr@10": [0.2, 0.3]}
    assert said["features"] == {"removed": [], "added": []}
