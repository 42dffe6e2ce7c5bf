"""The live space: in step with what is learned, of one piece with its index, the same after a restart."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import space as live
from api.columns import Columns
from api.lore import Lore
from api.placing import MOVED, Placer
from api.space import ItemSpace
from models.items import ItemRow, list_item
from models.learned import BIAS, CHOSEN, Learned
from streams.items import Item

D = 16


class World:
    """Columns, lore and a learner's rows that a test can change at will."""

    def __init__(self, folder=None, capacity=1024):
        self.columns = Columns(capacity)
        self.lore = Lore(self.columns, D)
        self.learned = Learned(D)
        self.space = ItemSpace(self.columns, self.lore, folder)

    def put(self, n, seed=0, *, warm=True, available=True, listed=True):
        """Give item `i<n>` its rows and return its slot."""
        row = ItemRow(chosen=9 if warm else 0)
        if listed:
            list_item(row, Item(categories=(f"c{n % 5}",), available=available))
        slot = self.columns.put(f"i{n}", row)
        if warm:
            self.learn(n, seed)
        self.space.touch(np.array([slot]))
        return slot

    def learn(self, n, seed=0):
        """Say of an item what a learner might: something of its own, more of its kind."""
        rng, kind = np.random.default_rng([seed, n]), np.random.default_rng(n % 5)
        slot = self.learned.slot(f"i{n}")
        self.learned.out[slot] = kind.normal(size=D) + 0.3 * rng.normal(size=D)
        self.learned.arrays.numbers[slot, [CHOSEN, BIAS]] = rng.integers(5, 90), rng.normal()
        self.lore.put(0, f"i{n}", self.learned.row(slot))

    def settle(self):
        while self.space.step():
            pass

    def in_step(self):
        """Assert that places and index are, but for what may be off, what placing everything from nothing gives."""
        n, space = len(self.columns), self.space
        placer, every = Placer(self.columns, self.lore), np.arange(n)
        (new, _), old = placer.place(every, space.guess), space.y[:n].astype(np.float32)
        assert (np.linalg.norm(new - old, axis=1) <= (MOVED + 2e-3) * np.linalg.norm(old, axis=1)).all()
        found = placer.live(every) & new.any(axis=1)
        slots, _ = space.search(np.append(np.zeros(D), 1).astype(np.float32), n + 1)
        assert sorted(slots) == np.flatnonzero(found).tolist()
        for slot in slots[:5]:
            _, scores = space.search(old[slot], 1)
            assert scores[0] >= float(old[slot] @ old[slot]) - 0.1


changes = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 3), st.booleans(), st.booleans(), st.booleans()), max_size=60
)


@settings(deadline=None, max_examples=30)
@given(changes, st.integers(1, 20))
def test_it_is_in_step_however_items_change(history, every):
    world = World(capacity=2)
    for n, (item, seed, warm, available, listed) in enumerate(history):
        world.put(item, seed, warm=warm, available=available, listed=listed)
        if n % every == 0:
            world.space.step()
    world.settle()
    world.in_step()


def filled(n=300, folder=None):
    world = World(folder)
    for item in range(n):
        world.put(item)
    return world


def test_the_index_hears_only_of_what_moved_far():
    world = filled()
    world.settle()
    told, slot = world.space.moved, world.learned.slot_of["i7"]
    for step, heard in ((1 + MOVED / 2, 0), (1 + 2 * MOVED, 1), (1.0, 1)):
        world.learned.out[slot] *= step
        world.learned.arrays.numbers[slot, BIAS] *= step
        world.lore.put(0, "i7", world.learned.row(slot))
        world.space.touch(np.array([world.columns.slot_of["i7"]]))
        world.settle()
        world.in_step()
        assert world.space.moved - told == heard


def test_an_item_nobody_chose_stands_with_those_that_are_said_to_be_like_it():
    world = filled()
    asyncio.run(world.space.fit())
    assert world.space.guess is not None
    slot = world.put(1001, warm=False)  # of category c1
    world.settle()
    world.in_step()
    y = world.space.y.astype(np.float32)
    nearness = y[:300, :-1] @ y[slot, :-1]
    assert nearness[1::5].mean() > max(nearness[k::5].mean() for k in (0, 2, 3, 4))
    assert {int(like) % 5 for like in world.space.likes[slot]} == {1}
    assert world.space.guessed(np.array([slot, 1])).tolist() == [
        True,
        world.lore.chosen(np.array([1]))[0] < 20,
    ]


def test_before_there_is_a_map_it_has_no_place():
    world = filled(20)
    slot = world.put(1001, warm=False)
    world.settle()
    world.in_step()
    assert not world.space.y[slot].any()
    assert not world.space.guessed(np.array([slot])).any()


def test_what_changes_while_everything_is_placed_is_placed_afterwards(monkeypatch):
    monkeypatch.setattr(live, "BULK", 100)
    world = filled()
    place = Placer.all

    def slow(placer, *given):
        placed = place(placer, *given)
        world.put(3, seed=9), world.put(5, available=False), world.put(2000)
        return placed

    monkeypatch.setattr(Placer, "all", slow)
    assert world.space.due(1.0)
    asyncio.run(world.space.fit())
    assert world.space.waiting == 3
    world.settle()
    world.in_step()


def test_items_that_cannot_be_placed_stop_nothing(monkeypatch, caplog):
    monkeypatch.setattr(live, "STEP", 50)
    world = filled(150)
    place = Placer.place

    def fail_once(placer, slots, by):
        monkeypatch.setattr(Placer, "place", place)
        raise ValueError("ours")

    monkeypatch.setattr(Placer, "place", fail_once)
    asyncio.run(world.space._work())
    asyncio.run(world.space._work())
    assert world.space.waiting == 0
    assert np.count_nonzero(world.space.y.any(axis=1)) == 100
    assert "could not be placed" in caplog.text


def test_a_fit_that_fails_leaves_the_old_map(monkeypatch, caplog):
    world = filled()
    asyncio.run(world.space._try_fit())
    old = world.space.guess

    def fail(placer):
        raise MemoryError("ours")

    monkeypatch.setattr(Placer, "fit", fail)
    asyncio.run(world.space._try_fit())
    assert world.space.guess is old is not None
    assert "the old ones go on serving" in caplog.text
    world.settle()
    world.in_step()


def test_fits_come_with_the_first_knowledge_and_as_it_grows():
    world = filled(30)
    world.settle()
    assert not world.space.due(1.0)
    for n in range(30, 60):
        world.put(n)
    assert world.space.due(1.0)
    asyncio.run(world.space._try_fit())
    assert not world.space.due(np.inf)
    world.columns.chosen[:60] *= 2
    assert world.space.due(np.inf)
    assert not world.space.due(0.0)  # it rests


def test_an_item_that_goes_is_not_found_but_still_tells_what_someone_likes():
    world = filled(10)
    world.settle()
    query = world.lore.query(world.lore.after(["i3"]))
    exact = world.space.y[:10].astype(np.float32) @ query
    assert world.space.search(query, 10)[0].tolist() == np.argsort(-exact, kind="stable").tolist()
    world.put(3, available=False)
    world.settle()
    assert 3 not in world.space.search(query, 10)[0]
    assert world.lore.query(world.lore.after(["i3"])) is not None


def test_a_restart_finds_the_snapshot_and_what_moved_since(tmp_path):
    world = filled(300, tmp_path / "space")
    asyncio.run(world.space.fit())
    world.settle()
    asyncio.run(world.space.stop())

    async def restart(changed):
        again = World(tmp_path / "space")
        again.space.load()
        assert again.columns.ids == world.columns.ids
        assert again.columns.category_names == world.columns.category_names
        for n in reversed(range(301)):  # another order, one more item
            again.put(n, seed=7 if n in changed else 0, available=n != 9)
        await asyncio.gather(again.space.compare(), change(again))
        return again

    async def change(again):
        await asyncio.sleep(0)  # after the comparison has begun
        again.put(5, seed=7)

    again = asyncio.run(restart({4, 200}))
    assert again.space.moved >= 2
    assert np.array_equal(again.space.guess.content.matrix, world.space.guess.content.matrix)
    assert np.array_equal(again.space.guess.ways, world.space.guess.ways)
    assert np.array_equal(again.space.likes[:300], world.space.likes[:300])
    again.settle()
    again.in_step()
    assert again.space.moved < 20  # all others stand where they stood


def test_a_broken_snapshot_is_left_aside(tmp_path, caplog):
    world = filled(300, tmp_path / "space")
    world.settle()
    asyncio.run(world.space.stop())
    for path in (tmp_path / "space").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-9] + b"x" * 9)
    again = World(tmp_path / "space")
    again.space.load()
    assert len(again.columns) == 0
    assert "left aside" in caplog.text


@pytest.mark.parametrize("n", [0, 3])
def test_running_places_and_stopping_saves(tmp_path, n):
    async def main():
        world = filled(n, tmp_path / "space")
        task = asyncio.create_task(world.space.run())
        await asyncio.sleep(2 * live.STEP_SECONDS)
        assert world.space.waiting == 0
        task.cancel()
        await world.space.stop()
        assert (tmp_path / "space").exists() == (n > 0)

    asyncio.run(main())


def test_it_is_settled_once_all_have_a_place_and_stays_so_while_more_is_learned():
    world = filled(300)
    assert not world.space.settled  # a map pays and is not there yet
    asyncio.run(world.space._try_fit())
    world.settle()
    assert world.space.settled
    world.columns.chosen[:300] *= 2
    world.put(1000)
    assert world.space.settled
