import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.processes import Process, Processes, free_port, is_free
from streams.errors import Unavailable

FOREVER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
# A shell that ignores SIGTERM, with a child of its own that does too.
STUBBORN = ["sh", "-c", "trap '' TERM; sleep 600 & echo $! > child; touch ready; wait; sleep 600"]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_stops_in_reverse_order(tmp_path):
    note = tmp_path / "order"
    script = f"""
import signal, sys, time
def leave(*_):
    open({str(note)!r}, "a").write(sys.argv[1]); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
time.sleep(600)
"""
    with Processes(tmp_path) as processes:
        for name in "abc":
            log = tmp_path / f"{name}.log"
            processes.start(
                name, [sys.executable, "-c", script, name], ready=lambda log=log: "up" in log.read_text()
            )
    assert note.read_text() == "cba"


def test_an_early_death_shows_the_end_of_the_log(tmp_path):
    with Processes(tmp_path) as processes, pytest.raises(Unavailable) as caught:
        processes.start("worker", ["sh", "-c", "echo no such topic; exit 3"], ready=lambda: False)
    assert "worker ended with code 3" in str(caught.value)
    assert "no such topic" in str(caught.value)
    assert str(tmp_path / "worker.log") in str(caught.value)


def test_the_end_of_the_log_leaves_earlier_runs_out(tmp_path):
    (tmp_path / "worker.log").write_text("an old fault\n")
    with Processes(tmp_path) as processes, pytest.raises(Unavailable) as caught:
        processes.start("worker", ["sh", "-c", "exit 1"], ready=lambda: False)
    assert "an old fault" not in str(caught.value)


def test_a_deadline_passes(tmp_path):
    with Processes(tmp_path) as processes, pytest.raises(Unavailable, match=r"not ready within 0\.2 s"):
        processes.start("slow", FOREVER, ready=lambda: False, seconds=0.2)


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(Unavailable, match="'no-such-program'"):
        Process("broker", ["no-such-program"], tmp_path / "broker.log")


def test_what_ignores_sigterm_is_killed_with_its_children(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = Process("stubborn", STUBBORN, tmp_path / "stubborn.log")
    process.wait_until((tmp_path / "ready").exists)
    child = int((tmp_path / "child").read_text())
    assert alive(child)
    assert process.stop(grace=0.2) == -signal.SIGKILL
    assert gone(child)


def test_watch_tells_who_ended(tmp_path):
    with Processes(tmp_path) as processes:
        processes.start("steady", FOREVER)
        processes.watch(seconds=0.1)
        processes.start("brief", ["sh", "-c", "sleep 0.2; exit 4"])
        with pytest.raises(Unavailable, match="brief ended with code 4"):
            processes.watch(seconds=10)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties children to their parent on Linux alone")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_no_child_outlives_its_parent(tmp_path, number):
    parent = f"""
import pathlib, sys, time
from ops.processes import Processes
with Processes(pathlib.Path({str(tmp_path)!r})) as processes:
    print(processes.start("child", {FOREVER!r}).pid, flush=True)
    time.sleep(600)
"""
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        child = int(process.stdout.readline())
        assert alive(child)
        process.send_signal(number)
        process.wait(10)
    assert gone(child)


def test_signal_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with Processes(tmp_path):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_free_port_can_be_bound_and_a_taken_one_is_seen():
    import socket

    port = free_port()
    assert is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
