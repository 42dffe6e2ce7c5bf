"""Whatever happens to workers, every table is the fold of its log; and a simulator that could not tell is no proof."""

import asyncio
import hashlib
import os
import random
import subprocess
import sys

import pytest

from ops.prove import checks, simulator
from ops.prove.histories import POISON, History, Written
from ops.prove.loop import Loop
from ops.prove.model import Broker, Group
from ops.prove.planted import PLANTED
from ops.prove.stage import Broken, Build
from streams import dead_letters
from streams.settings import Settings


def test_no_history_ends_otherwise_than_the_fold_of_its_log_and_every_planted_bug_is_found():
    verdict = simulator.simulate(500, seed=1)
    assert verdict.differences == []
    assert verdict.verdict == "equal"
    assert verdict.planted.keys() == PLANTED.keys()
    assert all(1 <= needed <= simulator.ENOUGH for needed in verdict.planted.values())
    assert verdict.histories == 500
    assert min(verdict.kills, verdict.disks_lost, verdict.sleeps, verdict.generations) > 500
    assert verdict.events == verdict.folded + verdict.duplicates + verdict.dead_letters
    assert min(verdict.folded, verdict.duplicates, verdict.dead_letters) > 500


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_shows_only_where_something_happens(name):
    """Else what is found would not be the bug."""
    for seed in range(5):
        assert checks.run(History(seed, PLANTED[name], harm=False)) == []


def test_a_difference_is_told_with_what_shows_it_again(monkeypatch):
    monkeypatch.setattr(simulator, "Build", lambda: PLANTED["no mark"])
    monkeypatch.setattr(simulator, "PLANTED", {})
    verdict = simulator.simulate(10, seed=1)
    assert verdict.verdict == "different"
    first = verdict.differences[0]
    seed = int(first.split("differences(")[1].split(")")[0])
    assert 1 <= seed <= 10
    assert first.startswith(simulator.differences(seed)[0])


def test_a_bug_that_is_not_found_leaves_nothing_proved(monkeypatch):
    monkeypatch.setattr(simulator, "PLANTED", {"none": Build()})
    monkeypatch.setattr(simulator, "ENOUGH", 3)
    verdict = simulator.simulate(3, seed=1)
    assert verdict.verdict == "different"
    assert verdict.differences == ["the planted bug 'none' was not found in 3 histories"]


SAID = """
from tests.ops.prove.test_simulator import story
print(story())
"""


def story():
    """What happened in a history, to the last byte of every log."""
    history = History(7, Build())
    wrong = checks.run(history)
    logs = sorted((place, str(records)) for place, records in history.broker._logs.items())
    return f"{wrong} {history.counts} {hashlib.sha256(str(logs).encode()).hexdigest()}"


def test_a_seed_is_a_history():
    """Neither what ran before nor the hashes of another process may change what happens."""
    told = story()
    assert story() == told
    other = subprocess.run(
        [sys.executable, "-c", SAID],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert other.stdout.strip() == told


def test_workers_that_never_rest_are_a_difference():
    class Restless(History):
        def _calm(self, workers):
            super()._calm(workers)
            return False

    assert checks.run(Restless(1, Build(), harm=False)) == ["the workers never came to rest"]


def test_a_fold_that_fails_is_a_difference():
    class Failing(PLANTED["no mark"].users):
        def fold_events(self, message):
            raise KeyError(f"a broken invariant at {message.offset}")

    (wrong,) = checks.run(History(1, Build(users=Failing), harm=False))
    assert "folding ('events', " in wrong
    assert "a broken invariant" in wrong


@pytest.mark.parametrize("seed", range(5))
def test_every_poison_record_stands_in_the_dead_letters_and_fits_one(seed):
    history = History(seed, Build())
    poison = [*POISON, b"x" * 900_000]
    history._unsaid = [Written("events", 0, b"k", value) for value in reversed(poison)]
    for _ in history.run():
        pass
    records = history.broker.records(("dead-letters", 0))
    letters = [dead_letters.decode(record.value) for record in records]
    assert {(letter.topic, letter.offset) for letter in letters} == {
        ("events", n) for n in range(len(poison))
    }
    assert all(letter.reason for letter in letters)
    assert all(len(record.value) < 900_000 for record in records)
    assert all("without its end" in letter.reason for letter in letters if letter.offset == len(poison) - 1)


def broker():
    return Broker(Settings(partitions=1), random.Random(1))


def test_compaction_keeps_the_last_of_each_key_at_its_offset():
    model = broker()
    model.append(("t", 0), [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"a", b"3")])
    model.compact(("t", 0), 3)
    assert [(r.offset, r.key, r.value) for r in model.records(("t", 0))] == [
        (1, b"b", b"1"),
        (2, b"a", b"2"),
        (3, b"a", b"3"),
    ]
    assert [record.offset for record in model.records(("t", 0), 2, 3)] == [2]
    assert model.end(("t", 0)) == 4
    assert model.append(("t", 0), [(b"a", b"4")]) == 4


def test_a_group_deals_every_partition_to_those_that_joined():
    group = Group(partitions=5)
    group.join("a")
    group.join("b")
    group.deal(random.Random(1))
    assert sorted(number for dealt in group.members.values() for number in dealt) == list(range(5))
    assert (group.generation, group.moving, group.joined) == (1, False, [])
    group.leave("a")
    assert (list(group.members), group.moving) == (["b"], True)


def test_a_loop_stands_still_until_it_is_turned():
    loop, seen = Loop(), []

    async def part(name, answer):
        seen.append(name)
        seen.append(await answer)

    async def both(answers):
        await asyncio.gather(*(part(name, answer) for name, answer in answers.items()))

    answers = {"a": loop.create_future(), "b": loop.create_future()}
    task = loop.create_task(both(answers))
    assert seen == []
    loop.turn()
    assert seen == ["a", "b"]
    answers["b"].set_result("for b")
    assert seen == ["a", "b"]
    loop.turn()
    assert seen == ["a", "b", "for b"]
    assert not task.done()
    answers["a"].set_exception(Broken("a"))
    loop.turn()
    with pytest.raises(Broken):
        task.result()
