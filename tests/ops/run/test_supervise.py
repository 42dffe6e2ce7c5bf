"""A worker's parent hands on what its stages say, last words and exit code included; `refold up` starts again."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from ops.processes import Process, Processes
from ops.run import supervise
from ops.state.fold import fingerprints
from streams.generations import Generation, Generations
from streams.settings import Settings
from streams.topology import STAGES


class Silence:
    """A control topic in which nothing is said."""

    def __init__(self, settings):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def poll(self, seconds):
        time.sleep(seconds)
        return {}


def stages(monkeypatch, **scripts):
    """Let the stages of one live generation run these scripts instead, without a broker."""
    start = Processes.start

    def instead(self, name, command, env, hear):
        assert command[1:3] == ["-m", "ops.run.stage"]
        return start(self, name, [sys.executable, "-c", scripts.get(name, QUIET)], env=env, hear=hear)

    def begin(settings, weights):
        return Generations().put(Generation(number=0, stage="live", folds=fingerprints(settings, weights)))

    monkeypatch.setattr(Processes, "start", instead)
    monkeypatch.setattr(supervise, "begin", begin)
    monkeypatch.setattr(supervise.control, "Listener", Silence)
    monkeypatch.setattr("ops.run.stages.check", lambda _: [])


def work(folder):
    return supervise.worker(Settings(data=folder), STAGES, "INFO")


QUIET = "import time; time.sleep(600)"
STEADY = "import time; print('folding', flush=True); time.sleep(600)"
BROKEN = """
import sys, time
time.sleep(0.5)
print("refold worker: the disk is full", file=sys.stderr)
print("some library's goodbye", file=sys.stderr)
sys.exit(70)
"""


def test_a_stage_that_ends_gives_the_worker_its_code_and_its_last_word(monkeypatch, tmp_path, capfd):
    stages(monkeypatch, users=STEADY, items=BROKEN)

    code = work(tmp_path)

    said = capfd.readouterr().err.splitlines()
    assert code == 70
    assert "users: folding" in said
    assert "items: some library's goodbye" in said
    assert said[-1] == "refold worker: items ended with code 70: the disk is full"
    assert "the disk is full" in (tmp_path / "logs" / "worker-0" / "items.log").read_text()


def test_a_stage_that_says_nothing_is_named_all_the_same(monkeypatch, tmp_path, capfd):
    stages(monkeypatch, users="import os; os.kill(os.getpid(), 9)", items=STEADY)

    assert work(tmp_path) == 128 + signal.SIGKILL
    assert capfd.readouterr().err.endswith("users ended with code 137: it said nothing\n")


def test_what_a_stage_says_while_it_stops_is_passed_on(tmp_path):
    script = f"""
import pathlib, sys
import pytest
from tests.ops.run.test_supervise import stages, work
stage = '''
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("stopped in order", flush=True)))
print("folding", flush=True)
time.sleep(600)
'''
stages(pytest.MonkeyPatch(), users=stage, items=stage)
sys.exit(work(pathlib.Path({str(tmp_path)!r})))
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as parent:
        said = [parent.stderr.readline(), parent.stderr.readline()]
        parent.terminate()
        said += parent.stderr.read().splitlines()
        assert parent.wait(20) == 128 + signal.SIGTERM
    assert {"users: folding\n", "items: folding\n"} == set(said[:2])
    assert {"users: stopped in order", "items: stopped in order"} <= set(said)


def test_last_words_are_heard_when_the_disk_is_full(tmp_path):
    (tmp_path / "log").symlink_to("/dev/full")
    heard = []

    script = "print('the disk is full')"
    process = Process("stage", [sys.executable, "-c", script], tmp_path / "log", hear=heard.append)
    while process.poll() is None:
        time.sleep(0.01)
    process.drain()

    assert heard == ["the disk is full"]
    assert process.tail() == "the disk is full"


def test_the_first_restart_is_at_once_and_the_pauses_grow_while_it_keeps_ending():
    part = supervise.Part("worker", processes=None)

    assert [part.ended(now=10.0) for _ in range(8)] == [0, 1, 2, 4, 8, 10, 10, 10]
    assert part.ended(now=1_000.0) == 0


def test_a_part_that_was_killed_runs_again_while_the_other_goes_on(monkeypatch, tmp_path):
    start = Processes.start
    steady = [sys.executable, "-c", STEADY]
    monkeypatch.setattr(Processes, "start", lambda self, name, _, hear: start(self, name, steady, hear=hear))
    with Processes(tmp_path) as processes:
        parts = [supervise.Part(name, processes) for name in supervise.PARTS]

        def pids():
            for part in parts:
                part.look(time.monotonic())
            return [part._process and part._process.pid for part in parts]

        worker, api = pids()
        parts[0]._process._child.kill()
        deadline = time.monotonic() + 10
        while (now := pids())[0] in (worker, None):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert now[1] == api
