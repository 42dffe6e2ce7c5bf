"""What can be learned is learned, and what teaches nothing is refused by name."""

import numpy as np
import pytest

from models.boosted import Boosted
from models.features import COLUMN, NAMES
from models.ranker import Lineup
from ops.train import fit as fits
from ops.train.fit import FIRST, KNOWN, RANGES, fit, search, space, usable
from ops.train.rows import Rows
from streams.errors import Refused

pytest.importorskip("lightgbm")
SIZE = 20
READ = ("relevance", "ctr", "affinity")


def rows_of(choices=300, seed=0, kinked=True):
    """Choices among twenty candidates by relevance and, if `kinked`, a CTR that counts only above a half."""
    draw = np.random.default_rng(seed)
    matrix = np.zeros((choices * SIZE, len(NAMES)), dtype=np.float32)
    for name in READ:
        matrix[:, COLUMN[name]] = draw.normal(size=len(matrix))
    score = matrix[:, COLUMN["relevance"]] + (3.0 * (matrix[:, COLUMN["ctr"]] > 0.5) if kinked else 0.0)
    chosen = (score + draw.gumbel(size=len(score))).reshape(choices, SIZE).argmax(axis=1)
    ones = np.ones(choices, dtype=np.int32)
    return Rows(
        matrix, np.tile(np.arange(SIZE, dtype=np.int32), choices), np.zeros(len(matrix), np.float32),
        sizes=SIZE * ones, chosen=chosen.astype(np.int32), popular=ones, earlier=ones, before=ones,
        candidates=SIZE * ones, at=np.arange(choices),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def fewer_rounds(monkeypatch):
    monkeypatch.setattr(fits, "ROUNDS", 60)


@pytest.fixture(scope="module")
def parts():
    return rows_of(), rows_of(150, seed=1), rows_of(150, seed=2)


@pytest.fixture(scope="module")
def fitted(parts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits, "ROUNDS", 60)
        return fit(parts[0], parts[1], 2, 1, lambda _: None)


def reciprocal(rows, scores):
    return float((1.0 / rows.judged(scores).rank).mean())


def test_it_ranks_better_than_the_stack_alone(parts, fitted):
    test = parts[2]
    alone = reciprocal(test, test.matrix[:, COLUMN["relevance"]])

    assert reciprocal(test, fitted.ranker.sums(test.matrix)) > 1.2 * alone


def test_both_objectives_are_tried_and_told(fitted):
    assert {trial["objective"] for trial in fitted.trials} == {"softmax", "lambdarank"}
    assert all(0.0 < trial["ndcg@10"] <= 1.0 and trial["trees"] > 0 for trial in fitted.trials)


def test_chances_are_those_that_were_met(parts, fitted):
    test = parts[2]
    chances = fitted.ranker.score(Lineup(test.matrix, test.slots, (), ()))

    assert chances.mean() == pytest.approx(1 / SIZE, rel=0.2)


def test_features_that_tell_nothing_apart_are_left_out(fitted):
    assert fitted.ranker.features == tuple(name for name in NAMES if name in READ)
    assert set(fitted.constant) == set(NAMES) - set(READ)
    assert next(iter(fitted.gains)) == "ctr"
    assert sum(fitted.gains.values()) == pytest.approx(1.0)


def test_the_same_rows_give_the_same_bytes(parts, fitted):
    again = fit(parts[0], parts[1], 2, 1, lambda _: None)

    assert again.ranker.pack() == fitted.ranker.pack()


def test_the_ranker_is_what_lightgbm_trained(parts):
    train, valid, test = parts
    columns = [COLUMN[name] for name in READ]
    booster = fits.boosted(train, columns, FIRST, 1)
    trees, _ = fits.pruned(booster, valid, columns)
    scores = Boosted(READ, trees, fits.Platt()).sums(test.matrix)

    whole = booster.predict(test.matrix[:, columns], raw_score=True, num_iteration=len(trees.starts))
    assert np.abs(scores - whole - test.matrix[:, COLUMN["relevance"]]).max() < 1e-6


def changed(rows, **parts):
    values = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    return Rows(**(values | parts))


def test_numbers_that_are_none_are_named(parts):
    matrix = parts[0].matrix.copy()
    matrix[5, COLUMN["ctr"]] = np.nan
    matrix[6, COLUMN["trend"]] = np.inf

    with pytest.raises(Refused, match="training span has features that are no numbers: trend, ctr"):
        usable(changed(parts[0], matrix=matrix), parts[1])


def test_a_span_whose_choices_were_no_candidates_is_refused(parts):
    missed = changed(parts[1], chosen=np.full(150, -1, np.int32))

    with pytest.raises(Refused, match="validation span holds 0 choices"):
        usable(parts[0], missed)


def test_one_candidate_each_is_nothing_to_rank():
    matrix = np.random.default_rng(0).normal(size=(150, len(NAMES))).astype(np.float32)
    ones = np.ones(150, dtype=np.int32)
    alone = Rows(
        matrix, ones, np.zeros(150, np.float32), sizes=ones, chosen=0 * ones, popular=ones, earlier=ones,
        before=ones, candidates=ones, at=np.arange(150),
    )  # fmt: skip

    with pytest.raises(Refused, match="nothing to rank"):
        usable(alone, alone)


def test_features_that_are_all_the_same_are_refused(parts):
    flat = changed(parts[0], matrix=np.zeros_like(parts[0].matrix))

    with pytest.raises(Refused, match="every feature is the same"):
        usable(flat, parts[1])


def test_without_lightgbm_it_says_what_to_install(parts, monkeypatch):
    import sys

    from streams.errors import SettingsError

    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(SettingsError, match=r"lightgbm.*pip install 'refold\[train\]'"):
        fit(parts[0], parts[1], 1, 1, lambda _: None)


def asked(seed, count, worth=lambda _: 0.0):
    tuned = search(seed)
    found = []
    for _ in range(count):
        trial = tuned.ask(space())
        tuned.tell(trial, worth(trial.params))
        found.append(dict(trial.params))
    return found


def test_trials_follow_from_the_seed():
    assert asked(3, 9) == asked(3, 9)
    assert asked(3, 3)[:2] == list(KNOWN)
    assert asked(3, 3)[2] != asked(4, 3)[2]
    for parameters in asked(3, 9):
        assert all(low <= parameters[name] <= high for name, (low, high) in RANGES.items())


def test_later_trials_come_near_what_did_well():
    def worth(parameters):
        return -abs(np.log(parameters["learning_rate"] / 0.15))

    rates = [parameters["learning_rate"] for parameters in asked(1, 40, worth)]

    assert np.abs(np.log(np.array(rates[-10:]) / 0.15)).mean() < 0.3
    assert np.abs(np.log(np.array(rates[:10]) / 0.15)).mean() > 0.6


def test_a_setting_must_clearly_beat_the_ones_before_it():
    first = np.linspace(0.3, 0.6, 400)
    luckier = first + 0.005 + np.resize([-0.3, 0.3], 400)
    better = first + 0.05 + np.resize([-0.3, 0.3], 400)
    assert luckier.mean() > first.mean()
    assert fits.taken([first, luckier]) == 0
    assert fits.taken([first, luckier, better]) == 2
