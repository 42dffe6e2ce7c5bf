"""On a real Kafka: what a worker cannot go on from ends it with 70 and plain words; started again, it is whole."""

import shutil
import subprocess
import time
from dataclasses import replace

import pytest

from agents.crash import EXIT_CODE
from streams.partition import partition_of
from streams.write import EventWriter, producer
from tests.kafka.clicks import clicks
from tests.kafka.test_worker import (
    PARTITIONS,
    assert_folded,
    start,
    until,
)

pytestmark = pytest.mark.kafka


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 64 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def write(settings, count, seed):
    with producer(settings) as to:
        writer = EventWriter(settings, to, batch=4)
        writer.write(clicks(count, seed))
        writer.finish()


def until_it_ends(worker, settings):
    deadline, seed = time.monotonic() + 60, 100
    while worker.poll() is None:
        assert time.monotonic() < deadline, worker.tail()
        write(settings, 20, seed := seed + 1)
        time.sleep(0.2)
    assert worker.poll() == EXIT_CODE
    return worker.tail(1)


def test_a_changelog_that_another_wrote_to(settings, processes):
    worker = start(processes, settings)
    write(settings, 200, 1)
    assert_folded(settings)

    with producer(settings) as to:
        number = partition_of("user-0", PARTITIONS)
        to.send(settings.changelog("users"), key=b"user-0", value=b"a stranger's", partition=number).get(10)
    last = until_it_ends(worker, settings)

    assert last.startswith("refold worker: users ended with code 70: ")
    assert "another worker owns the partition" in last
    start(processes, settings)
    assert_folded(settings)


@pytest.mark.timeout(240)
def test_a_full_disk(settings, processes, small_disk):
    here = replace(settings, data=small_disk)
    worker = start(processes, here)
    write(here, 200, 1)
    assert_folded(here)

    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            pass
    last = until_it_ends(worker, here)
    assert "the disk is full: free space where REFOLD_DATA lies" in last
    worker = start(processes, here)  # still full
    last = until_it_ends(worker, here)
    assert "the disk is full: free space where REFOLD_DATA lies" in last

    ballast.unlink()
    worker = start(processes, here)
    until(lambda: "Ready" in worker.tail(1_000), "it folds again")
    assert_folded(here)
    assert worker.poll() is None
