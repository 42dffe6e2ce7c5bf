import warnings

import numpy as np
import pytest

from models.trees import Trees, of_lightgbm
from streams.errors import StateError

lightgbm = pytest.importorskip("lightgbm")
COLUMNS = 6


def trained(rows, labels, **parameters):
    said = {
        "objective": "binary",
        "use_missing": False,
        "verbose": -1,
        "num_threads": 1,
        "min_data_in_leaf": 2,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lightgbm.train(said | parameters, lightgbm.Dataset(rows, labels), 40)


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(3000, COLUMNS)).astype(np.float32)
    rows[:, 1] = np.round(rows[:, 1])  # thresholds that many rows meet exactly
    rows[:, 2] = 7.0  # says nothing
    rows[::7, 3] = -0.0
    return rows


@pytest.fixture(scope="module")
def booster(rows):
    return trained(rows, (rows[:, 0] * rows[:, 1] + rows[:, 4] ** 2 > 1).astype(int))


@pytest.fixture(scope="module")
def trees(booster):
    return of_lightgbm(booster.dump_model(), COLUMNS)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_predicts_what_lightgbm_predicts(rows, booster, trees, count):
    want = booster.predict(rows[:count], raw_score=True) if count else np.zeros(0)

    assert np.abs(trees.predict(rows[:count]) - want).max(initial=0.0) < 1e-9


def test_extremes_and_missing_numbers_go_where_lightgbm_sends_them(booster, trees):
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38, 1e-45], dtype=np.float32)
    rows = (
        np.array(np.meshgrid(odd, odd, [7], odd[:3], odd[:3], [0]), dtype=np.float32).reshape(COLUMNS, -1).T
    )

    assert np.abs(trees.predict(rows) - booster.predict(rows, raw_score=True)).max() < 1e-9


def test_a_threshold_between_two_floats_parts_them_as_a_double_does():
    low = np.float32(0.1)
    high = np.nextafter(low, np.float32(1))
    rows = np.repeat(np.array([[low], [high]], np.float32), 50, axis=0)
    booster = trained(rows, np.repeat([0, 1], 50))

    found = of_lightgbm(booster.dump_model(), 1).predict(rows)

    assert np.abs(found - booster.predict(rows, raw_score=True)).max() < 1e-9
    assert found[0] < found[-1]


def test_one_leaf_is_a_tree():
    rows = np.zeros((20, 1), np.float32)
    booster = trained(rows, np.arange(20) % 2)

    assert of_lightgbm(booster.dump_model(), 1).predict(rows) == pytest.approx(
        booster.predict(rows, raw_score=True)
    )


def test_splits_that_treat_missing_numbers_apart_are_refused(rows):
    missing = rows.copy()
    missing[::3, 0] = np.nan
    booster = trained(missing, (rows[:, 4] > 0).astype(int) | np.isnan(missing[:, 0]), use_missing=True)

    with pytest.raises(StateError, match="use_missing=false"):
        of_lightgbm(booster.dump_model(), COLUMNS)


def changed(trees, **parts):
    values = {name: getattr(trees, name) for name in ("nodes", "values", "starts", "depths", "features")}
    return Trees(**(values | parts))


def test_nodes_that_lead_astray_are_refused(trees):
    for harm in (0xFFFF, 0xFF << 16):
        nodes = trees.nodes.copy()
        nodes[0] |= harm
        with pytest.raises(StateError):
            changed(trees, nodes=nodes)
    with pytest.raises(StateError):
        changed(trees, features=1)
    with pytest.raises(StateError):
        changed(trees, values=np.full_like(trees.values, np.nan))
    with pytest.raises(StateError):
        changed(trees, depths=trees.depths - 100)
    with pytest.raises(StateError):
        changed(trees, starts=trees.starts + 1)
