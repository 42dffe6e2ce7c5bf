"""The light model: one logistic score per action, of each item alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import NAMES
from models.scorer import Scorer, light
from models.surfaces import load
from streams.errors import SettingsError


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, len(NAMES))).astype(np.float32)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(0, 50))
def test_a_score_does_not_depend_on_its_batch_mates(n, seed):
    scorer, features = light(), rows(n, seed)
    mix = scorer.mix({"purchase": 3.0, "click": 1.0})
    together = scorer.score(features, mix)
    alone = [float(scorer.score(features[k : k + 1], mix)[0]) for k in range(n)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_probabilities_are_probabilities_even_far_out():
    chances = light().predict(rows(50) * 1e6)
    assert np.isfinite(chances).all()
    assert ((chances >= 0) & (chances <= 1)).all()


def test_the_version_names_the_weights():
    said = {"click": {"bias": -1.0, "relevance": 2.0}}
    assert Scorer.of(said).version == Scorer.of(said).version
    assert Scorer.of(said).version != Scorer.of({"click": {"bias": -1.0, "relevance": 2.5}}).version
    assert Scorer.of(said).version != Scorer.of({"buy": said["click"]}).version


def test_what_does_not_exist_is_named():
    with pytest.raises(SettingsError, match=r"click\.colour=1"):
        Scorer.of({"click": {"colour": 1.0}})
    with pytest.raises(SettingsError, match="not finite"):
        Scorer(["a"], np.full((len(NAMES), 1), np.nan, np.float32), np.zeros(1, np.float32))


def test_the_packaged_model_predicts_what_every_surface_wants_and_leans_the_right_way():
    scorer = light()
    for surface in load().surfaces.values():
        assert scorer.mix(surface.actions).any()
    nothing = np.zeros((1, len(NAMES)), np.float32)
    base = scorer.predict(nothing)[0]
    for name in ("relevance", "ctr"):
        more = nothing.copy()
        more[0, NAMES.index(name)] = 1.0
        assert (scorer.predict(more)[0] >= base).all(), name


def test_mixing_is_linear_in_the_actions():
    scorer, features = light(), rows(20)
    click, purchase = (scorer.score(features, scorer.mix({a: 1.0})) for a in ("click", "purchase"))
    both = scorer.score(features, scorer.mix({"click": 1.0, "purchase": 2.0}))
    np.testing.assert_allclose(both, click + 2 * purchase, rtol=1e-5)


def test_where_nothing_else_is_known_the_order_is_that_of_relevance():
    scorer, features = light(), np.zeros((400, len(NAMES)), np.float32)
    features[:, NAMES.index("relevance")] = np.random.default_rng(1).permutation(400) / 20 - 8
    features[:, NAMES.index("popular_all")] = rows(400)[:, 0]
    for surface in load().surfaces.values():
        scores = scorer.score(features, scorer.mix(surface.actions))
        assert np.array_equal(np.argsort(scores), np.argsort(features[:, NAMES.index("relevance")]))


def test_an_action_that_is_not_predicted_yet_changes_no_score():
    scorer, features = light(), rows(20)
    with_hide, without = ({"click": 1.0, "hide": -5.0}, {"click": 1.0})
    assert np.array_equal(
        scorer.score(features, scorer.mix(with_hide)), scorer.score(features, scorer.mix(without))
    )
