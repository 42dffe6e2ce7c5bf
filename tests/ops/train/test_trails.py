import importlib.util
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from models.actions import DEFAULTS
from models.blended import Blended
from models.features import NAMES
from models.ranker import Lineup
from models.surfaces import load
from ops.progress import silent
from ops.registry.gates import GATES, held_by
from ops.train import blends
from ops.train.history import History, Said
from ops.train.sequence import Plan
from ops.train.trails import learn_sequence, trails, train_last_out, train_trails
from ops.train.train import STACK
from streams.artifacts import name_of
from streams.errors import Refused
from streams.events import Event
from streams.models import Model, Registry
from streams.settings import Settings
from tests.ops.train.test_rows import told

SMALL = replace(Plan(), width=16, window=8, negatives=8, tokens=64, epochs=1)
deep = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="training needs the extra `deep`")


def said(at, user, item, wanted=True):
    event = Event(event_id=f"{user}{at}{item}", type="purchase", user_id=user, item_id=item, at=at)
    return Said(at, event, wanted)


def history(*all_said):
    return History(lambda: iter(all_said), {"events": {0: (0, len(all_said))}})


def test_trails_are_first_choices_in_order_of_what_was_said():
    keys, people = trails(
        history(
            said(1, "u", "b"), said(2, "v", "a"), said(3, "u", "a"), said(4, "u", "b"), said(5, "w", "c", False),
            Said(6, item="d"), said(7, "u", "d"),
        )
    )  # fmt: skip
    assert keys == ["b", "a", "d"]
    assert [trail.tolist() for trail in people] == [[0, 1, 2], [1]]

    keys, people = trails(history(said(1, "u", "b"), said(2, "u", "a")), before=2)
    assert (keys, [trail.tolist() for trail in people]) == (["b"], [[0]])


def trained(*all_said, **more):
    settings, home = Settings(dimensions=16), load().surfaces["home"]
    heard = history(*all_said)
    values = {"learn": learn_sequence(heard, SMALL, lambda _: None), "seed": 1, "live": None, "begin": silent}
    return train_trails(heard, settings, DEFAULTS, home, at=1_700_000_000_000, **(values | more))


def test_a_history_without_records_or_choices_is_refused():
    pytest.importorskip("jax", reason="training needs the extra `deep`")
    with pytest.raises(Refused, match="holds no record"):
        trained()
    with pytest.raises(Refused, match="0 people chose two items"):
        trained(said(1, "u", "a", False))


@pytest.fixture(scope="module")
def made():
    pytest.importorskip("jax", reason="training needs the extra `deep`")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blends, "LEAST", 5)
        yield trained(*told(700, items=120, users=30)), trained


def test_a_version_says_what_it_is_and_was_measured_against(made):
    (model, artifact), _ = made

    assert (model.name, model.kind, model.against) == ("sequence", "sequence", STACK)
    assert (model.artifact, model.size) == (name_of(artifact), len(artifact))
    assert model.span == {"events": {0: (0, 820)}}
    assert model.metrics.keys() >= {"ndcg@10", "hr@10", "coverage@10", "calibration_error", "latency_ms"}
    assert model.compared.keys() >= {"ndcg@10", "hr@10", "coverage@10"}
    assert {"head", "tail"} <= model.slices.keys()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(model), type=Model) == model
    held = {reason.partition(":")[0] for reason in held_by(Registry({model.key: model}), model)}
    assert held <= {gate.name for gate in GATES}
    assert not any("was not measured" in reason for reason in held_by(Registry({model.key: model}), model))
    for part in (
        "- run_epochs: 1",
        "2023-11-14 22:13 UTC",
        "its logit weighs",
        "first 70%",
        "## Limits",
        STACK,
    ):
        assert part in model.card


def test_the_artifact_serves_and_knows_no_item_of_later(made):
    (model, artifact), _ = made
    ranker = Blended.of(model, artifact)

    early = {one.event.item_id for one in told(700, items=120, users=30)[: int(0.7 * 820)] if one.event}
    assert set(ranker.keys) == early
    rows = np.zeros((3, len(NAMES)), np.float32)
    assert np.isfinite(
        ranker.score(Lineup(rows, np.arange(3), (*ranker.keys[:2], "new"), ranker.keys[2:4]))
    ).all()


def test_a_live_version_is_what_is_compared(made):
    (model, artifact), trained = made
    live = Blended.of(model, artifact)

    again, same = trained(*told(700, items=120, users=30), live=live)

    assert same == artifact
    assert (again.against, again.compared["ndcg@10"]) == (live.version, again.metrics["ndcg@10"])


@deep
def test_all_but_the_last_choices_are_learned_and_measured_on():
    events = [said(t, f"u{u}", f"i{(u + t) % 9}") for t in range(5) for u in range(30)]
    done = train_last_out(
        history(*events, *(said(9, f"u{u}", "last") for u in range(30))), SMALL, lambda _: None
    )
    assert done["metrics"].keys() == {"hr@10", "ndcg@10"}
    assert done["facts"]["choices_measured"] == 30
    assert done["facts"]["choices"] + done["facts"]["held_out"] == 150
    assert not done["published"]
