"""Item vectors are the leading axes of common choices: as an exact factorisation has them, and by what people chose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.blended import Blended
from ops.train import blends
from ops.train.trails import learn_vectors
from ops.train.vectors import BUSY, POPULAR, Held, Plan, train_vectors
from streams.errors import Refused
from tests.ops.train.test_rows import told
from tests.ops.train.test_trails import history, trained


def two_tastes(people=60, seed=1):
    """Users who choose five of the items below 10, or five of those above."""
    rng = np.random.default_rng(seed)
    return [(rng.permutation(10)[:5] + 10 * (n % 2)).astype(np.int32) for n in range(people)]


def keys(count):
    return [f"i{n}" for n in range(count)]


def vectors_of(people, items, **plan):
    return train_vectors(Held(keys(items), people), Plan(**plan), lambda _: None)


def test_what_the_same_people_choose_is_close():
    model, facts = vectors_of(two_tastes(), 20, width=4)
    for side in (0, 10):
        logits = model.places() @ model.query(np.array([side + 3, side + 7]))
        assert logits[side : side + 10].min() > logits[10 - side : 20 - side].max()
    assert (facts["users"], facts["items"], facts["choices"], facts["axes"]) == (60, 20, 300, 4)


def test_all_axes_together_are_the_common_choices():
    people = two_tastes(30)
    model, _ = vectors_of(people, 20, width=20, rounds=40)
    chosen = np.zeros((30, 20))
    for row, trail in zip(chosen, people, strict=True):
        row[trail] = len(trail) ** (-BUSY / 2)
    down = np.diag((chosen > 0).sum(0) ** -POPULAR)
    wanted = down @ chosen.T @ chosen @ down
    queries = model.item * model.weight[:, None] * model.scale
    # an axis counts by the root of its strength: twice applied, popularity laid back, all of them are the choices
    root = down @ model.item @ queries.T @ np.linalg.inv(down)
    found = root @ root
    assert found / np.abs(found).max() == pytest.approx(wanted / np.abs(wanted).max(), abs=1e-3)


def test_one_seed_gives_one_model_and_rounds_are_told():
    said = []
    one, _ = train_vectors(Held(keys(20), two_tastes()), Plan(rounds=3), said.append)
    same, _ = vectors_of(two_tastes(), 20, rounds=3)
    assert one.item.tobytes() == same.item.tobytes()
    assert [line.partition(":")[0] for line in said] == [f"round {n} of 3" for n in (1, 2, 3)]


@settings(max_examples=20)
@given(st.permutations(range(60)))
def test_the_order_of_people_says_nothing(order):
    people = two_tastes()
    one, _ = vectors_of(people, 20, width=2)
    other, _ = vectors_of([people[n] for n in order], 20, width=2)
    asked = np.array([1, 12, 3])
    assert one.places() @ one.query(asked) == pytest.approx(other.places() @ other.query(asked), abs=1e-4)


def test_an_item_that_nobody_chose_twice_has_a_finite_vector():
    model, _ = vectors_of([*two_tastes(), np.array([20], np.int32)], 22)
    assert np.isfinite(model.places()).all()
    assert not model.places()[[20, 21]].any()


@pytest.mark.parametrize(("people", "users"), [([], 0), ([[0, 1]], 1), ([[0]] * 50, 0), ([[0, 1]] * 19, 19)])
def test_too_few_people_are_refused(people, users):
    with pytest.raises(Refused, match=f"{users} people chose two items or more; item vectors need 20"):
        vectors_of([np.array(trail, np.int32) for trail in people], 2)


def test_a_version_of_vectors_serves_and_says_so(monkeypatch):
    monkeypatch.setattr(blends, "LEAST", 5)
    said = told(700, items=120, users=30)
    learn = learn_vectors(history(*said), Plan(width=8), lambda _: None)

    model, artifact = trained(*said, learn=learn)

    assert (model.name, model.kind) == ("vectors", "vectors")
    assert "A model of kind vectors" in model.card
    assert "- axes: 8" in model.card
    assert Blended.of(model, artifact).pack() == artifact
