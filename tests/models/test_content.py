"""Content: what is said of an item stands for its choices until there are some."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.content import SKETCH, TERMS, WIDTH, Content, blend, dense, fit, sketch, terms
from tests import strategies as our

D = 8


def padded(*records):
    rows = np.zeros((len(records), TERMS), dtype=np.int16)
    for row, said in zip(rows, records, strict=True):
        found = terms(**said)
        row[: len(found)] = found
    return rows


def shelf(n, seed=0):
    """Items of four kinds whose places follow their kind, and a little their second word."""
    rng = np.random.default_rng(seed)
    kinds, words = rng.integers(0, 4, n), rng.integers(0, 9, n)
    of_kind, of_word = (np.random.default_rng(k).normal(size=(9, D + 1)) for k in (1, 2))
    said = [
        {"title": f"w{word} x", "categories": (f"k{kind}",)} for kind, word in zip(kinds, words, strict=True)
    ]
    places = of_kind[kinds] + 0.3 * of_word[words] + 0.1 * rng.normal(size=(n, D + 1))
    return padded(*said), places.astype(np.float32), kinds


@given(our.items)
def test_terms_are_bounded_and_depend_on_what_is_said_alone(item):
    found = terms(item.title, item.tags, item.categories)
    assert found == terms.__wrapped__(item.title, item.tags, item.categories)
    assert len(found) <= TERMS
    assert all(1 <= abs(term) <= WIDTH for term in found)


def test_a_word_a_tag_and_a_category_are_not_one_term():
    assert len({terms("tea"), terms(tags=("tea",)), terms(categories=("tea",))}) == 3
    assert terms() == ()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=300))
def test_a_sketch_is_finite_and_knows_no_scale(vector):
    found = sketch(vector)
    assert found.shape == (SKETCH,)
    assert np.isfinite(found).all()
    if 1e-200 < np.abs(vector).max(initial=0.0) < 1e200:
        assert np.allclose(sketch(np.asarray(vector) * 3.0), found, atol=1e-5)


def test_sketches_of_long_vectors_keep_what_is_near_near():
    rng = np.random.default_rng(3)
    one = rng.normal(size=768)
    near, far = one + 0.3 * rng.normal(size=768), rng.normal(size=768)
    assert sketch(one) @ sketch(near) > 0.8
    assert abs(sketch(one) @ sketch(far)) < 0.4


def test_a_new_item_stands_with_those_of_its_kind():
    hashed, places, kinds = shelf(2_000)
    found = fit(hashed, None, places)
    assert found.error < 0.1
    middles = np.stack([places[kinds == kind].mean(axis=0)[:-1] for kind in range(4)])
    new = found.place(padded(*({"categories": (f"k{kind}",)} for kind in range(4))), None)
    nearest = np.linalg.norm(new[:, None, :-1] - middles[None], axis=2).argmin(axis=1)
    assert nearest.tolist() == [0, 1, 2, 3]


def test_a_newcomer_starts_among_the_least_popular():
    hashed, places, _ = shelf(2_000)
    places[:, -1] = np.linspace(-1, 3, len(places))
    assert fit(hashed, None, places).place(padded({}), None)[0, -1] == pytest.approx(-0.6, abs=0.01)


def test_a_clients_vector_alone_suffices():
    rng = np.random.default_rng(4)
    given_, turn = rng.normal(size=(1_000, 300)), rng.normal(size=(300, D + 1)) / 17
    sketches = np.stack([sketch(vector) for vector in given_])
    nothing = np.zeros((1_000, TERMS), dtype=np.int16)
    assert fit(nothing, sketches, (given_ @ turn).astype(np.float32)).error < 0.8


def test_content_that_tells_nothing_or_too_few_items_give_no_map():
    hashed, places, _ = shelf(1_000)
    noise = np.random.default_rng(5).normal(size=places.shape).astype(np.float32)
    assert fit(hashed[:63], None, places[:63]) is None
    assert fit(np.zeros_like(hashed), None, places) is None
    assert fit(hashed, None, np.ones_like(places)) is None
    found = fit(hashed, None, noise)
    assert found is None or found.error > 0.95


def test_a_place_that_is_not_finite_is_named():
    hashed, places, _ = shelf(100)
    places[3, 2] = np.nan
    with pytest.raises(ValueError, match="1 numbers"):
        fit(hashed, None, places)


def test_fitting_is_deterministic():
    hashed, places, _ = shelf(500)
    one, two = fit(hashed, None, places), fit(hashed.copy(), None, places.copy())
    assert np.array_equal(one.matrix, two.matrix)


def test_rows_are_made_dense_alike_in_any_company():
    hashed, _, _ = shelf(50)
    whole = dense(hashed, None)
    assert np.allclose(dense(hashed[7:8], None)[0], whole[7])
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=0.5)


def test_choices_win_over_content():
    learned, guessed = np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32)
    shares = blend(learned, [0, 1, 5, 5_000], guessed)[:, 0]
    assert shares[0] == 0
    assert shares[3] > 0.99
    assert shares.tolist() == sorted(shares.tolist())


def test_a_map_is_a_plain_product():
    hashed, _, _ = shelf(5)
    matrix = np.random.default_rng(6).normal(size=(WIDTH + SKETCH, D + 1)).astype(np.float32)
    middle = np.arange(D + 1, dtype=np.float32)
    expected = dense(hashed, None) @ matrix + middle
    assert np.allclose(Content(matrix, middle, 0.5).place(hashed, None), expected, atol=1e-5)
