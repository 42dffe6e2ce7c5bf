"""The live space: in step with the columns, of one piece with its index, the same after a restart."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import space as live
from api.columns import Columns
from api.placing import Placer
from api.space import ItemSpace
from models.items import ItemRow, list_item
from models.space import Space
from streams.items import Item

D = 16


def put(columns, n, seed=0, *, warm=True, available=True, listed=True):
    """Give items `i<n>` a row and return its slot."""
    rng = np.random.default_rng([seed, n])
    row = ItemRow()
    if listed:
        list_item(row, Item(categories=(f"c{n % 5}",), available=available))
    if warm:
        row.context, row.mass = rng.normal(size=D).astype(np.float32), float(rng.integers(2, 50))
        row.chosen = int(rng.integers(1, 20))
    return columns.put(f"i{n}", row)


def settle(space):
    while space.step():
        pass


def check_in_step(columns, space):
    """Assert that vectors and index are what placing everything from nothing gives."""
    n = len(columns)
    placer = Placer(columns)
    assert placer.sign(n)
    y, found = placer.place_all(space.space)[:n], placer.live(np.arange(n))
    placed = space.y[:n].any(axis=1)
    assert np.allclose(space.y[:n][placed], y[placed], atol=2e-3)
    query = np.append(np.zeros(D), 1).astype(np.float32)
    slots, _ = space.search(query, n + 1)
    assert sorted(slots) == np.flatnonzero(found).tolist()
    for slot in slots[:5]:
        best, scores = space.search(y[slot].astype(np.float32), 1)
        assert scores[0] >= float(y[slot].astype(np.float32) @ y[slot].astype(np.float32)) - 1e-2
        assert best.size


changes = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()), max_size=60
)


@settings(deadline=None, max_examples=30)
@given(changes, st.integers(1, 20))
def test_it_is_in_step_however_items_change(history, every):
    columns = Columns(D, capacity=2)
    space = ItemSpace(columns)
    for n, (item, seed, warm, available, listed) in enumerate(history):
        slot = put(columns, item, seed, warm=warm, available=available, listed=listed)
        space.touch(np.array([slot]))
        if n % every == 0:
            space.step()
    settle(space)
    check_in_step(columns, space)


def filled(n=300, folder=None):
    columns = Columns(D)
    space = ItemSpace(columns, folder)
    space.touch(np.array([put(columns, item) for item in range(n)], dtype=np.int64))
    return columns, space


def test_a_fit_moves_everything_at_once():
    columns, space = filled()
    settle(space)
    assert np.array_equal(space.space.matrix, np.eye(D))
    before = space.y.copy()
    asyncio.run(space.fit())
    assert not np.array_equal(space.space.matrix, np.eye(D))
    assert not np.allclose(space.y, before)
    assert len(space.space.centroids) == 5
    check_in_step(columns, space)


def test_what_changes_during_a_fit_is_placed_afterwards(monkeypatch):
    columns, space = filled()
    settle(space)
    fit = Placer.fit

    def slow(placer, going_on):
        placed = fit(placer, going_on)
        space.touch(np.array([put(columns, 3, seed=9), put(columns, 5, available=False), put(columns, 2000)]))
        return placed

    monkeypatch.setattr(Placer, "fit", slow)
    asyncio.run(space.fit())
    assert space.waiting == 3
    settle(space)
    check_in_step(columns, space)


def test_items_that_cannot_be_placed_stop_nothing(monkeypatch, caplog):
    _, space = filled(3 * live.STEP)
    place = Placer.place

    def fail_once(placer, space, slots):
        monkeypatch.setattr(Placer, "place", place)
        raise ValueError("ours")

    monkeypatch.setattr(Placer, "place", fail_once)
    asyncio.run(space._work())
    asyncio.run(space._work())
    assert space.waiting == 0
    assert np.count_nonzero(space.y.any(axis=1)) == 2 * live.STEP
    assert "could not be placed" in caplog.text


def test_a_fit_that_fails_leaves_the_old_space(monkeypatch, caplog):
    columns, space = filled()
    settle(space)
    old = space.space

    def fail(placer, going_on):
        raise MemoryError("ours")

    monkeypatch.setattr(Placer, "fit", fail)
    asyncio.run(space._try_fit())
    assert space.space is old
    assert "the old one goes on serving" in caplog.text
    check_in_step(columns, space)


def test_fits_come_with_the_first_knowledge_and_as_it_grows():
    columns, space = filled(live.WARM - 1)
    settle(space)
    assert not space.due(1.0)
    space.touch(np.array([put(columns, live.WARM)]))
    assert space.due(1.0)
    asyncio.run(space._try_fit())
    assert not space.due(np.inf)
    columns.chosen[:200] *= 2
    assert space.due(np.inf)
    assert not space.due(0.0)  # it rests


def test_many_that_wait_are_placed_by_a_fit(monkeypatch):
    monkeypatch.setattr(live, "BULK", 100)
    _, space = filled(120)
    assert space.due(1.0)
    asyncio.run(space.fit())
    assert space.waiting == 0


def test_cold_items_stand_with_their_category():
    columns, space = filled()
    asyncio.run(space.fit())
    slot = put(columns, 1001, warm=False)  # of category c1
    space.touch(np.array([slot]))
    settle(space)
    nearness = space.y[:300, :-1].astype(np.float32) @ space.y[slot, :-1].astype(np.float32)
    assert nearness[1::5].mean() > max(nearness[k::5].mean() for k in (0, 2, 3, 4))


def test_queries_come_from_items_with_a_place():
    columns, space = filled(10)
    assert space.query(np.array([1, 2])) is None
    assert space.similar(10_000) is None
    settle(space)
    assert space.query(np.array([], dtype=np.int64)) is None
    query = space.similar(3)
    assert space.search(query, 10)[0].tolist() == sorted(range(10), key=lambda n: (-(query @ space.y[n]), n))
    assert query.shape == (D + 1,)
    unlisted = put(columns, 3, available=False)
    space.touch(np.array([unlisted]))
    settle(space)
    assert space.query(np.array([3])) is not None  # it still tells what someone likes
    assert 3 not in space.search(query, 10)[0]


def test_a_restart_finds_the_snapshot_and_what_moved_since(tmp_path):
    columns, space = filled(300, tmp_path / "space")
    asyncio.run(space.fit())
    asyncio.run(space.stop())

    async def restart(changed):
        again = Columns(D)
        space = ItemSpace(again, tmp_path / "space")
        space.load()
        assert again.ids == columns.ids[: len(again)]
        assert again.category_names == columns.category_names
        for n in reversed(range(301)):  # another order, one more item
            put(again, n, seed=7 if n in changed else 0, available=n != 9)
        await asyncio.gather(space.compare(), change(again, space))
        return again, space

    async def change(again, space):
        await asyncio.sleep(0)  # after the comparison has begun
        space.touch(np.array([put(again, 5, seed=7)]))

    again, space = asyncio.run(restart({4, 200}))
    assert space.waiting == 5  # the two, the unavailable one, the new one and the one that changed meanwhile
    assert not np.array_equal(space.space.matrix, np.eye(D))
    settle(space)
    check_in_step(again, space)


def test_a_broken_snapshot_is_left_aside(tmp_path, caplog):
    columns, space = filled(300, tmp_path / "space")
    asyncio.run(space.fit())
    asyncio.run(space.stop())
    for path in (tmp_path / "space").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    columns = Columns(D)
    space = ItemSpace(columns, tmp_path / "space")
    space.load()
    assert len(columns) == 0
    assert "left aside" in caplog.text
    assert isinstance(space.space, Space)


@pytest.mark.parametrize("n", [0, 3])
def test_running_places_and_stopping_saves(tmp_path, n):
    async def main():
        _, space = filled(n, tmp_path / "space")
        task = asyncio.create_task(space.run())
        await asyncio.sleep(2 * live.STEP_SECONDS)
        assert space.waiting == 0
        task.cancel()
        await space.stop()
        assert (tmp_path / "space").exists() == (n > 0)

    asyncio.run(main())
