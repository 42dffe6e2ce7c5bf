"""Effects first, rows second, acknowledgement last; and nothing is acked that is not safe."""

import asyncio
import subprocess
import sys

import pytest

from agents import flush
from agents.consume import DeadLetters, consume
from agents.crash import EXIT_CODE
from agents.fake import Event, Message, Rows, Sender, Stream
from agents.flush import Flusher
from agents.table import Table
from models.popular import Popular, choose
from streams import dead_letters
from streams.changelog import NOTE, Note, decode, encode, headers
from streams.errors import Refused, StateError
from streams.settings import Settings

SETTINGS = Settings()


class Part:
    """A flusher over one table, with every effect written down in order."""

    def __init__(self, fail_at=None, pause=1.0):
        self.steps = []

        def step(what):
            self.steps.append(what)
            if what == fail_at:
                raise OSError(what)

        self.sender, self.rows, self.acks = Sender(step), Rows(step), []
        self.step = step
        self.table = Table("popular", self.rows, Popular, Popular.from_row)
        self.said = []
        self.flusher = Flusher(SETTINGS, self.sender, [self.table], self.say, pause)

    def say(self):
        said, self.said = self.said, []
        return said

    def fold(self, offset=0, size=1):
        partition = self.table.partition(0)
        partition.put("all", choose(partition.get("all"), "i", 1.0))
        self.said.append(("touches", 1, [(None, b"touch")]))
        event = Event(Message("touches", 0, offset, b"u", b"x" * size), self.acks, self.step)
        self.flusher.hold(event)
        return event


def test_the_order_is_effects_changelog_rows_ack():
    part = Part()
    part.fold(7)
    asyncio.run(part.flusher.flush())
    changelog = SETTINGS.changelog("popular")
    assert part.steps == [
        *("send touches", "sent touches", "acknowledge touches"),
        *(f"send {changelog}", f"sent {changelog}", f"acknowledge {changelog}"),  # the claim
        *(f"send {changelog}", f"sent {changelog}", f"sent {changelog}", f"acknowledge {changelog}"),
        *("put rows", "rows put"),
        "ack",
    ]
    assert part.acks == [("touches", 0, 7)]
    assert part.rows.offsets == {0: 2}
    note = encode(Note(0, {"touches": 8}))
    assert part.sender.log[changelog, 0] == [
        (NOTE, encode(Note())),
        (b"all", part.rows.get_row(0, b"all")),
        (NOTE, note),
    ]
    assert part.sender.headers[changelog, 0] == [(), headers(0), headers(0)]
    assert part.rows.get_row(0, NOTE) == note


def test_a_partition_is_claimed_once_and_again_after_it_was_given_up():
    part = Part()
    changelog = SETTINGS.changelog("popular")

    def claims():
        return [
            offset
            for offset, (record, held) in enumerate(
                zip(part.sender.log[changelog, 0], part.sender.headers[changelog, 0], strict=True)
            )
            if record[0] == NOTE and not held
        ]

    for offset in range(3):
        part.fold(offset)
        asyncio.run(part.flusher.flush())
    assert claims() == [0]
    part.table.forget()
    part.fold(3)
    asyncio.run(part.flusher.flush())
    assert claims() == [0, 7]
    assert decode(part.rows.get_row(0, NOTE)) == Note(7, {"touches": 4})


def test_a_replay_does_not_take_positions_back():
    part = Part()
    for offset in (5, 2):
        part.fold(offset)
        asyncio.run(part.flusher.flush())
        part.table.forget()
    assert decode(part.rows.get_row(0, NOTE)).positions == {"touches": 6}


@pytest.mark.parametrize("claimed", [True, False])
def test_a_changelog_that_somebody_else_wrote_to_stops_the_flush(claimed):
    part = Part()
    if claimed:
        part.fold(0)
        asyncio.run(part.flusher.flush())
    before = part.rows.rows.copy(), part.rows.offsets.copy(), part.acks.copy()
    asyncio.run(part.sender.send(SETTINGS.changelog("popular"), 0, [(b"all", b"another's")]))
    part.table.partition(0)
    part.fold(1)
    with pytest.raises(StateError, match=r"popular\[0\].*another worker owns the partition"):
        asyncio.run(part.flusher.flush())
    assert (part.rows.rows, part.rows.offsets, part.acks) == before


def test_a_row_whose_changelog_ends_with_a_fenced_one_is_said_again():
    part = Part()
    part.fold(0)
    asyncio.run(part.flusher.flush())
    row = part.rows.get_row(0, b"all")
    part.rows.put_rows(0, {NOTE: encode(Note(0, {"touches": 1}, (b"all", b"never")))}, 2)
    part.table.forget()
    assert [partition.number for partition in part.table.dirty()] == []
    part.table.partition(0)
    asyncio.run(part.flusher.flush())
    log = part.sender.log[SETTINGS.changelog("popular"), 0]
    assert log[-2:] == [(b"all", row), (NOTE, encode(Note(3, {"touches": 1})))]


@pytest.mark.parametrize(
    "fail_at",
    ["send touches", "acknowledge touches", "send refold-popular-changelog", "put rows", "rows put"],
)
def test_nothing_is_acked_when_a_step_fails(fail_at):
    part = Part(fail_at)
    part.fold()
    with pytest.raises(OSError, match=fail_at):
        asyncio.run(part.flusher.flush())
    assert part.acks == []


def test_nothing_follows_a_flush_that_failed():
    """A second one, made while the process ends, may not go on from what the first one left half done."""
    part = Part("acknowledge refold-popular-changelog")
    part.fold()
    for _ in range(2):
        with pytest.raises(OSError, match="acknowledge"):
            asyncio.run(part.flusher.flush())
    steps = list(part.steps)
    part.fold(1)
    with pytest.raises(OSError, match="acknowledge"):
        asyncio.run(part.flusher.flush())
    assert (part.steps, part.acks) == (steps, [])


def test_no_row_rests_that_the_changelog_did_not_acknowledge():
    part = Part("acknowledge refold-popular-changelog")
    part.fold()
    with pytest.raises(OSError, match="acknowledge"):
        asyncio.run(part.flusher.flush())
    assert part.rows.rows == {}


def test_what_is_folded_while_a_flush_waits_belongs_to_the_next():
    part = Part()

    class Slow(Sender):
        async def send(self, topic, partition, records, headers=()):
            records = list(records)
            part.fold(1)
            return await super().send(topic, partition, records, headers)

    slow = Slow()
    part.flusher = Flusher(SETTINGS, slow, [part.table], part.say, 1.0)
    part.fold(0)
    part.said.clear()

    async def main():
        await part.flusher.flush()
        assert part.acks == [("touches", 0, 0)]
        assert Popular.from_row(part.rows.get_row(0, b"all")).items == {"i": 1.0}

    asyncio.run(main())


def test_a_failed_flush_ends_the_process_and_acks_nothing():
    script = """
import asyncio
from agents import flush
from agents.fake import Event, Message, Rows, Sender
from streams.settings import Settings

def step(what):
    raise OSError("the broker is gone")

class Acked(Event):
    def ack(self):
        print("acked")

flusher = flush.Flusher(Settings(), Sender(step), [], lambda: [("touches", 0, [(None, b"t")])], 0.01)
flusher.hold(Acked(Message("events", 0, 0, None, b"")))
asyncio.run(flusher.run())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == EXIT_CODE
    assert done.stdout == ""
    assert "a flush failed: OSError('the broker is gone')" in done.stderr


def test_a_fold_that_fails_ends_the_process():
    script = """
import asyncio
from agents.consume import DeadLetters, consume
from agents.fake import Event, Message, Sender, Stream
from agents.flush import Flusher
from streams.settings import Settings

def fold(message):
    raise KeyError("a broken invariant")

settings = Settings()
stream = Stream([Event(Message("events", 3, 9, None, b""))])
flusher = Flusher(settings, Sender(), [], lambda: [], 1.0)
asyncio.run(consume(stream, fold, flusher, DeadLetters(settings)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == EXIT_CODE
    assert "folding events[3]@9 failed: KeyError('a broken invariant')" in done.stderr


def test_a_refused_record_is_buried_with_its_place_and_goes_on_the_way_of_all_records():
    part = Part()
    dead = DeadLetters(SETTINGS)
    part.flusher = Flusher(SETTINGS, part.sender, [], dead.take, 1.0)
    events = [Event(Message("events", 3, n, b"k", b"v"), part.acks, part.step) for n in range(3)]

    def fold(message):
        if message.offset == 1:
            raise Refused("value=nan is not a finite number")

    async def main():
        stream = Stream(events)
        await consume(stream, fold, part.flusher, dead)
        assert not stream.acking
        assert part.acks == []
        await part.flusher.flush()

    asyncio.run(main())
    assert part.acks == [("events", 3, 0), ("events", 3, 1), ("events", 3, 2)]
    ((_, letter),) = part.sender.log["dead-letters", 3]
    found = dead_letters.decode(letter)
    assert (found.topic, found.partition, found.offset, found.key, found.value) == (
        "events",
        3,
        1,
        b"k",
        b"v",
    )
    assert found.at == 1_700_000_000_000
    assert found.reason == "value=nan is not a finite number"
    assert list(dead.take()) == []


def test_a_dead_letter_fits_a_record_whatever_was_refused():
    dead = DeadLetters(SETTINGS)
    dead.bury(
        Message("events", 0, 0, b"k" * 3_000_000, b"v" * 3_000_000), "no such field: " + "f" * 3_000_000
    )
    ((_, _, ((_, letter),)),) = dead.take()
    assert len(letter) < 900_000
    assert "without its end" in dead_letters.decode(letter).reason


@pytest.mark.parametrize(("count", "size"), [(flush.MOST_HELD, 1), (3, 1 << 20)])
def test_folding_waits_when_too_much_is_held(count, size):
    async def main():
        part = Part(pause=60.0)
        for n in range(count - 1):
            part.fold(n, size if n else 0)
        part.said.clear()
        assert not part.flusher.full
        part.fold(count, size)
        assert part.flusher.full
        running = asyncio.create_task(part.flusher.run())
        async with asyncio.timeout(10):  # although the pause is a minute
            await part.flusher.room()
            assert not part.flusher.full  # taken, and published while folding goes on
            while len(part.acks) < count:
                await asyncio.sleep(0.001)
        running.cancel()

    asyncio.run(main())


def test_nothing_is_sent_while_nothing_happens():
    async def main():
        part = Part(pause=0.001)
        running = asyncio.create_task(part.flusher.run())
        await asyncio.sleep(0.05)
        assert part.steps == []
        part.fold()
        async with asyncio.timeout(10):
            while not part.acks:
                await asyncio.sleep(0.001)
        running.cancel()

    asyncio.run(main())


def test_large_flushes_are_fewer_so_that_what_they_write_is_bounded():
    steady = [flush.pause_after(1.0, 0.0, size, behind=False) for size in (0, flush.STEADY, 2 * flush.STEADY)]
    assert steady == [1.0, 1.0, 2.0]
    assert flush.pause_after(1.0, 0.0, 100 * flush.STEADY, behind=True) == flush.SLOWEST
    part = Part()
    part.fold()
    asyncio.run(part.flusher.flush())
    assert part.flusher._written == len(part.rows.get_row(0, b"all"))
