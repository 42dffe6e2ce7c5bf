import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from models.sequence import places, query, unpacked
from ops.train.history import History, Said
from ops.train.sequence import Plan
from ops.train.trails import trails, train_trails
from streams.artifacts import name_of
from streams.errors import Refused
from streams.events import Event


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


def test_a_history_without_choices_is_refused():
    pytest.importorskip("jax", reason="training needs the extra `deep`")
    with pytest.raises(Refused, match="0 people chose two items"):
        train_trails(history(), Plan(), 0, lambda _: None)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="training needs the extra `deep`")
def test_a_version_names_its_artifact_its_items_and_what_it_learned_from():
    plan = replace(Plan(), width=16, window=8, negatives=8, tokens=64, epochs=1)
    events = [said(t, f"u{u}", f"i{(u + t) % 9}") for t in range(5) for u in range(30)]
    model, artifact = train_trails(history(*events), plan, 1_700_000_000_000, lambda _: None)
    keys, read = unpacked(artifact)
    assert sorted(keys) == [f"i{n}" for n in range(9)]
    assert np.isfinite(places(read) @ query(read, np.array([1, 2]))).all()
    assert (model.name, model.kind, model.artifact, model.size) == (
        "sequence",
        "sequence",
        name_of(artifact),
        len(artifact),
    )
    assert model.span == {"events": {0: (0, 150)}}
    assert model.metrics.keys() == {"hr@10", "ndcg@10"}
    assert "- run_epochs: 1" in model.card
    assert "2023-11-14 22:13 UTC" in model.card
    assert "of 7 users, which also told" in model.card
    left = history(*events, *(said(9, f"u{u}", "last") for u in range(30)))
    model, artifact = train_trails(left, plan, 0, lambda _: None, leave_last_out=True)
    assert "of 30 users, which it never saw" in model.card
    keys, read = unpacked(artifact)
    assert read.bias[keys.index("last")] < read.bias.mean()
