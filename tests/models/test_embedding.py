import numpy as np
import pytest

from models import embedding
from models.learned import BIAS, Learned
from tests.models.examples import cycle, said


def test_the_inner_product_is_that_of_numpy():
    draw = np.random.default_rng(1)
    for n in (1, 7, 8, 64, 100):
        a, b = draw.standard_normal((2, n)).astype(np.float32)
        assert embedding.dot(a, b) == pytest.approx(a @ b, abs=1e-4)


def test_random_numbers_are_spread_and_the_same_again():
    drawn = [embedding.random(5, n) for n in range(1000)]
    assert drawn == [embedding.random(5, n) for n in range(1000)]
    assert len(set(drawn)) == 1000
    assert min(drawn) >= 0
    assert 400 < sum(x & 1 for x in drawn) < 600


def test_a_trail_is_the_fading_sum_of_its_items_of_length_one():
    learned = Learned(8)
    after = np.array([learned.slot(key) for key in "abc"], np.int32)
    v = np.zeros(8, np.float32)
    embedding.pool(learned.arrays, after, v)
    expected = sum(
        embedding.FADE**k * (learned.into[slot] + learned.out[slot]) for k, slot in enumerate(after)
    )
    np.testing.assert_allclose(v, expected / np.linalg.norm(expected), rtol=1e-5)


def test_chances_of_all_items_are_one():
    ringed = np.array([3, 0, 1], np.int32)
    assert sum(embedding.chance(ringed, slot, 3, 4) for slot in range(3)) == pytest.approx(1.0)


def test_draws_come_as_often_as_their_chance_says():
    ring = np.full(4096, -1, np.int32)
    ring[:4] = [0, 0, 0, 2]
    ringed = np.array([3, 0, 1], np.int32)
    drawn = np.bincount([embedding.draw(ring, 3, 4, 9, n) for n in range(20_000)], minlength=3) / 20_000
    assert drawn == pytest.approx([embedding.chance(ringed, slot, 3, 4) for slot in range(3)], abs=0.02)


def test_the_embedding_alone_learns_what_comes_next():
    learned = said(cycle(30, 60))
    v = np.zeros(8, np.float32)
    right = 0
    for n in range(30):
        after = learned.slots(tuple(f"i{(n - back) % 30}" for back in range(1, 21)))
        embedding.pool(learned.arrays, after, v)
        logits = learned.out @ v + learned.arrays.numbers[:30, BIAS]
        others = np.setdiff1d(np.arange(30), after)
        right += others[logits[others].argmax()] == learned.slot_of[f"i{n}"]
    assert right > 20
