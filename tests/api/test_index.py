"""The vector index answers like exact search through updates and rebuilds, and refuses what poisons it."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.base import Base
from api.index import VectorIndex
from streams.errors import Refused

D = 8
SLOTS = 40


def drawn(seed, n, dimensions=D):
    rows = np.random.default_rng(seed).standard_normal((n, dimensions))
    return rows.astype(np.float16).astype(np.float32)


def exact(vectors, query, count):
    """Best slots and scores by the definition, ties by slot."""
    ranked = sorted((-float(vector @ query), slot) for slot, vector in vectors.items())
    return [slot for _, slot in ranked[:count]], [-score for score, _ in ranked[:count]]


def same(index, vectors, query, count):
    slots, scores = index.search(query, count)
    _, expected = exact(vectors, query, count)
    assert len(set(slots.tolist())) == len(slots) == min(count, len(vectors))
    assert (slots.dtype, scores.dtype) == (np.int64, np.float32)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    np.testing.assert_allclose(scores, [vectors[s] @ query for s in slots.tolist()], atol=1e-4)
    assert (np.diff(scores) <= 0).all()


def based(seed=0, n=300, **options):
    index = VectorIndex(D, **({"automatic": False} | options))
    rows = drawn(seed, n)
    index.update(np.arange(n), rows)
    index.rebuild(wait=True)
    assert index.fresh == 0
    return index, dict(enumerate(rows))


@pytest.fixture
def held(monkeypatch):
    """A build that stops before its first vector until released."""
    reached, go = threading.Event(), threading.Event()
    add = Base.add

    def slow(self, slots, vectors):
        reached.set()
        assert go.wait(30)
        add(self, slots, vectors)

    def start(index):
        monkeypatch.setattr(Base, "add", slow)
        index.rebuild()
        assert reached.wait(30)

    yield start, go
    go.set()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.lists(st.integers(0, SLOTS - 1), max_size=12)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, SLOTS + 5), max_size=12)),
        st.tuples(st.just("rebuild"), st.just([])),
    ),
    max_size=14,
)


@settings(deadline=None, max_examples=150)
@given(steps=steps, seed=st.integers(0, 10**6), count=st.integers(1, SLOTS + 5))
def test_any_history_answers_exactly(steps, seed, count):
    """After any updates, removals and rebuilds a small index equals exact search."""
    index, vectors = VectorIndex(D, automatic=False), {}
    for at, (step, slots) in enumerate(steps):
        if step == "update":
            rows = drawn(seed + at, len(slots))
            index.update(slots, rows)
            vectors |= dict(zip(slots, rows, strict=True))
        elif step == "remove":
            index.remove(slots)
            for slot in slots:
                vectors.pop(slot, None)
        else:
            index.rebuild(wait=True)
        assert len(index) == len(vectors)
    for query in drawn(seed + 99, 3):
        same(index, vectors, query, count)


def test_empty_index_answers_with_nothing():
    """An empty index, one emptied, and a count of zero all answer; a rebuild of nothing works."""
    index = VectorIndex(D)
    assert [len(part) for part in index.search(np.ones(D), 5)] == [0, 0]
    index.rebuild(wait=True)
    index.update([1], np.ones((1, D)))
    assert len(index.search(np.ones(D), 0)[0]) == 0
    index.rebuild(wait=True)
    index.remove([1, 9])
    assert len(index.search(np.ones(D), 5)[0]) == len(index) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6])
def test_poisoned_vectors_are_refused(bad):
    """A vector that is not finite as float16 is refused by its slot, and the whole update with it."""
    index = VectorIndex(D)
    rows = np.ones((3, D))
    rows[1, 2] = bad
    with pytest.raises(Refused, match="slot 8 "):
        index.update([7, 8, 9], rows)
    assert len(index) == 0


def test_impossible_arguments_are_refused():
    """Zero vectors (as float16), negative slots and wrong shapes are refused."""
    index = VectorIndex(D)
    with pytest.raises(Refused, match="slot 2 "):
        index.update([1, 2], [[1.0] * D, [1e-9] * D])
    for call in (
        lambda: index.update([-1], np.ones((1, D))),
        lambda: index.update([1], np.ones((1, D + 1))),
        lambda: index.update([1, 2], np.ones((1, D))),
        lambda: index.remove([-3]),
        lambda: index.search(np.ones(D + 1), 1),
        lambda: index.search(np.full(D, np.nan), 1),
    ):
        with pytest.raises(Refused):
            call()


def test_only_allowed_slots_are_returned():
    """A mask of slots is applied to base and overlay; slots beyond it are not allowed."""
    index, vectors = based(n=60)
    index.update([70], drawn(5, 1))
    allowed = np.zeros(50, np.bool_)
    allowed[::2] = True
    slots, _ = index.search(vectors[0], 100, allowed)
    assert sorted(slots.tolist()) == list(range(0, 50, 2))


def test_many_searches_equal_each():
    """search_many answers row by row."""
    index, _ = based()
    queries = drawn(3, 4)
    for query, (slots, scores) in zip(queries, index.search_many(queries, 9), strict=True):
        one_slots, one_scores = index.search(query, 9)
        assert slots.tolist() == one_slots.tolist()
        assert scores.tolist() == one_scores.tolist()


def test_hidden_vectors_do_not_shorten_the_answer():
    """When the best of the base were all removed, the search goes on to the next."""
    index = VectorIndex(D, automatic=False)
    rows = drawn(0, 3000)
    index.update(np.arange(3000), rows)
    index.rebuild(wait=True)
    query = np.ones(D, np.float32)
    worst_first = np.argsort(rows @ query)
    index.remove(worst_first[-1000:])
    slots, _ = index.search(query, 50)
    assert set(slots.tolist()) == set(worst_first[-1050:-1000].tolist())


def test_changes_during_a_rebuild_survive_the_swap(held):
    """Updates, inserts and removals made while a base is built count before and after it serves."""
    start, go = held
    index, vectors = based(n=100)
    index.update(np.arange(10), rows := drawn(1, 10))
    vectors |= dict(enumerate(rows))
    start(index)
    index.update([5, 50, 200], rows := drawn(2, 3))
    vectors |= {5: rows[0], 50: rows[1], 200: rows[2]}
    index.remove([6, 60])
    del vectors[6], vectors[60]
    for _ in range(2):  # before the swap and after
        for query in drawn(3, 5):
            same(index, vectors, query, 20)
        go.set()
        index._builder.join()
    assert (index.rebuilds, index.fresh, len(index)) == (2, 3, len(vectors))


def test_growth_starts_a_rebuild_by_itself():
    """Beyond its share and size the overlay becomes a new base."""
    index = VectorIndex(D, smallest=100, share=0.2)
    index.update(np.arange(100), drawn(0, 100))
    assert (index.due, index.rebuilding, index.rebuilds) == (False, False, 0)
    index.update(np.arange(100, 400), drawn(1, 300))
    index.rebuild(wait=True)
    assert (index.rebuilds >= 1, index.fresh, len(index)) == (True, 0, 400)


def test_failed_build_leaves_the_old_base(monkeypatch, caplog):
    """A build that fails is logged, the index goes on answering, and the next attempt waits for growth."""
    index, vectors = based(n=60, smallest=10)
    index.update(np.arange(60), rows := drawn(1, 60))
    vectors |= dict(enumerate(rows))
    with monkeypatch.context() as patch:
        patch.setattr(Base, "add", lambda *_: 1 / 0)
        index.rebuild(wait=True)
    assert "building the index failed" in caplog.text
    assert (index.rebuilds, index.due) == (1, False)
    same(index, vectors, drawn(2, 1)[0], 30)
    index.rebuild(wait=True)
    assert (index.rebuilds, index.fresh) == (2, 0)
    same(index, vectors, drawn(2, 1)[0], 30)


def test_close_gives_a_build_up(held):
    """A closed index stops building and still answers."""
    start, go = held
    index, vectors = based(n=60)
    start(index)
    threading.Timer(0.05, go.set).start()
    index.close()
    index.rebuild(wait=True)
    assert (index.rebuilds, index.rebuilding) == (1, False)
    same(index, vectors, drawn(2, 1)[0], 30)


def test_threads_may_search_while_others_write():
    """At every moment of updates and rebuilds a search sees each slot once, and one version of an update."""
    index, vectors = based(n=200)
    rows, stop, wrong = np.stack(list(vectors.values())), threading.Event(), []

    def write():
        scale = 1.0
        while not stop.is_set():
            scale = scale % 8 + 1
            index.update(np.arange(100), rows[:100] * scale)
            index.rebuild()

    writer, query = threading.Thread(target=write), np.ones(D, np.float32)
    writer.start()
    for _ in range(500):
        slots, scores = index.search(query, 200)
        before = rows[slots] @ query
        scales = np.round(scores / before, 1)[(slots < 100) & (np.abs(before) > 0.5)]
        if len(set(slots.tolist())) != 200 or len(set(scales.tolist())) != 1:
            wrong.append((slots, scales))
    stop.set()
    writer.join()
    index.close()
    assert wrong == []


def test_short_vectors_are_within_reach():
    """Vectors of very different lengths are all found: no item is out of reach for being new."""
    rows = drawn(0, 5000, 16)
    rows *= np.random.default_rng(1).lognormal(0, 0.5, (5000, 1))
    index = VectorIndex(16, automatic=False)
    index.update(np.arange(5000), rows)
    index.rebuild(wait=True)
    assert len(index.search(np.ones(16), 5000)[0]) >= 4990


def test_recall_of_a_graph_large_enough_to_miss():
    """The defaults find at least 95 of the best 100 among 20,000."""
    rows = drawn(0, 20_000, 32)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    index = VectorIndex(32, automatic=False)
    index.update(np.arange(len(rows)), rows)
    index.rebuild(wait=True)
    recalls = [
        len(np.intersect1d(index.search(query, 100)[0], np.argsort(-(rows @ query))[:100])) / 100
        for query in drawn(1, 30, 32)
    ]
    assert np.mean(recalls) >= 0.95
