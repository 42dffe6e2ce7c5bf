"""The proof itself: its workload is what it says, its clocks stop when they should, its verdicts can be "different"."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agents.fake import Rows
from models.actions import DEFAULTS
from models.users import DUPLICATES, FOLDED, LATE, User
from ops.log import fake
from ops.prove import flips, scenarios, verdicts
from ops.prove.points import POINTS, Fuse
from ops.prove.recovery import AFTER, Fault, Recovery
from ops.prove.workload import Source
from ops.state.fold import ends, fold
from streams import events
from streams.errors import SettingsError
from streams.settings import Settings

SETTINGS = Settings(partitions=4, dimensions=8)
NOW = 1_760_000_000_000


@pytest.fixture(scope="module")
def written():
    return list(Source(SETTINGS, seed=7).records(20_000))


def test_a_seed_gives_the_same_log_and_another_another(written):
    again = Source(SETTINGS, seed=7).records(20_000)
    other = Source(SETTINGS, seed=8).records(20_000)

    assert list(again) == written
    assert list(other) != written


def test_the_shares_are_as_promised(written):
    good = [record for record in written if record.topic == "events" and not record.poison]
    batch = [events.decode(record.value, NOW) for record in good]
    count = sum(record.events for record in written)
    poison = sum(record.events for record in written if record.poison)

    assert {len(one) for one in batch} == set(range(1, 65))
    assert sum(record.duplicates for record in good) / count == pytest.approx(0.05, abs=0.01)
    assert poison / count == pytest.approx(0.005, abs=0.002)
    assert {record.topic for record in written} == {"events", "items", "profiles"}
    for topic in ("items", "profiles"):
        assert any(record.value is None for record in written if record.topic == topic)


def test_the_fold_finds_every_duplicate_late_event_and_poison(written):
    log = fake.Log(SETTINGS.partitions)
    for record in written:
        log.append(record.topic, record.partition, record.key, record.value, NOW)
    tally, refused = [0, 0, 0], 0
    for partition in range(SETTINGS.partitions):
        rows = Rows()
        tables = {"users": rows, "shown": Rows()}
        found = fold(log, SETTINGS, "users", partition, tables, ends(log, "users", partition), DEFAULTS)
        refused += found.refused
        for key, row in rows.rows[partition].items():
            if key != b"\xff":
                tally = [a + b for a, b in zip(tally, User.from_row(row).tally, strict=True)]

    assert refused == sum(record.poison for record in written if record.topic != "items")
    assert tally[DUPLICATES] == sum(record.duplicates for record in written)
    assert tally[FOLDED] + tally[DUPLICATES] == sum(r.events for r in written if not r.poison)
    assert tally[LATE] / 20_000 == pytest.approx(0.01, abs=0.005)


def test_a_clock_stops_when_all_that_stood_in_the_log_is_folded():
    recovery = Recovery(SETTINGS)
    recovery._faults.append(Fault(struck=0.0))
    at = ("events", 0)

    recovery._look(AFTER / 2, {at: 3}, {at: 3})
    assert recovery.pending  # too early: records that came during the fault count too
    recovery._look(AFTER + 1, {at: 5}, {at: 3})
    recovery._look(AFTER + 2, {at: 9}, {at: 4})
    assert recovery.pending
    recovery._look(AFTER + 3, {at: 9}, {at: 5})
    assert not recovery.pending
    assert recovery.figures().keys() == {"max", "median"}


def test_a_fuse_burns_at_its_point_only(monkeypatch):
    killed = []
    monkeypatch.setattr("ops.prove.points.os.kill", lambda _, number: killed.append(number))
    fuse = Fuse("rows", 2)
    for point in POINTS["users"]:
        fuse.at(point)
    assert not killed
    fuse.at("rows")
    assert killed == [9]


def test_a_flipped_snapshot_is_never_taken_and_a_good_one_is(tmp_path):
    flips.write(tmp_path)
    count, taken = flips.flip(tmp_path, every=97)

    assert count > 20
    assert taken == []
    assert flips.taken(tmp_path)


def test_a_scenario_that_comes_to_no_end_is_different_and_keeps_its_folder(monkeypatch, tmp_path):
    def away(*_, **__):
        raise SettingsError("no broker here")

    monkeypatch.setattr(scenarios, "_play", away)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    verdict = scenarios.run("kill", SETTINGS, 1, quick=True)

    assert verdict["verdict"] == "different"
    assert "no broker here" in verdict["differences"][0]
    assert Path(verdict["folder"]).parent == tmp_path


def test_one_difference_makes_all_different():
    equal = {"scenario": "kill", "verdict": "equal", "kills": 2, "seconds_to_recover": {"max": 7.0}}
    other = {"scenario": "pause", "verdict": "different", "kills": 1}
    both = verdicts.together([equal, other], seed=3)

    assert (both["verdict"], both["kills"], both["differences"]) == ("different", 3, ["pause"])
    assert verdicts.together([equal], seed=3)["verdict"] == "equal"


def test_an_unknown_scenario_is_named():
    with pytest.raises(SettingsError, match="no scenario 'earthquake'"):
        list(verdicts.prove(SETTINGS, ["earthquake"], 1, quick=True))


def test_every_scenario_says_what_it_does_and_stands_in_the_page():
    page = Path("docs/prove.md").read_text()
    for name in verdicts.names():
        assert f"| `{name}` |" in page
    for name in POINTS["users"]:
        assert f"`{name}`" in page
    assert all(scenario.harm.__doc__ for scenario in scenarios.SCENARIOS.values())


def test_a_laid_point_kills_the_process_that_passes_it():
    code = """
from agents.fake import Rows
from agents.table import Table
from models.users import User
from ops.prove.points import Fuse, lay

lay(Fuse("rows", 1))
partition = Table("users", Rows(), User, User.from_row).partition(0)
partition.put("anna", User())
partition.freeze()
print("before", flush=True)
partition.store(1)
print("after", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert done.returncode == -9
    assert done.stdout == b"before\n"
