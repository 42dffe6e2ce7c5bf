"""The watchdog ends what stands still, and nothing else: not who is idle, asleep, recovering or without a broker."""

import pytest

from agents import watchdog
from agents.watchdog import Signs, Watch


class World:
    """A process and its broker by a clock of our own."""

    def __init__(self):
        self.now = 1_000.0
        self.asked = 0
        self.waits = ""
        self.turned = None  # when the loop last turned; None: it turns
        self.flushing = None
        self.done = 0
        self.taking_over = False
        self.watch = Watch(self.waiting, lambda: self.now)

    def waiting(self):
        self.asked += 1
        if isinstance(self.waits, Exception):
            raise self.waits
        return self.waits

    def pass_by(self, seconds, work=0):
        """Look every second; return the last word and after how many seconds it was said."""
        for passed in range(1, seconds + 1):
            self.now += 1
            self.done += work
            turned = self.now if self.turned is None else self.turned
            if word := self.watch.look(Signs(turned, self.flushing, self.done, self.taking_over)):
                return word, passed
        return "", seconds


@pytest.fixture
def world():
    return World()


def test_a_loop_that_does_not_turn_ends_the_process(world):
    world.turned = world.now

    word, passed = world.pass_by(200, work=1)

    assert word == "the event loop has not turned for 61 s"
    assert passed == watchdog.TURN + 1


def test_a_flush_that_does_not_end_ends_the_process(world):
    world.flushing = world.now

    assert world.pass_by(200, work=1) == ("a flush has not ended for 91 s", watchdog.FLUSH + 1)


def test_waiting_records_that_nobody_folds_end_the_process(world):
    world.pass_by(10, work=1)
    world.waits = "events[3] holds one at offset 7"

    word, passed = world.pass_by(200)

    assert (
        word == "nothing was folded for 70 s, though events[3] holds one at offset 7 and the broker answers"
    )
    assert passed == watchdog.FOLD + watchdog.SURE


def test_a_record_that_came_just_now_is_given_time(world):
    world.pass_by(int(watchdog.FOLD))
    world.waits = "events[3] holds one at offset 7"
    assert world.pass_by(5) == ("", 5)
    world.waits = ""
    world.pass_by(1, work=1)

    assert world.pass_by(600) == ("", 600)


def test_who_has_nothing_to_fold_lives_and_asks_once_a_minute(world):
    assert world.pass_by(3_600) == ("", 3_600)
    assert world.asked == 3_600 / watchdog.FOLD - 1


def test_who_works_lives_without_asking(world):
    world.waits = "events[3] holds one at offset 7"

    assert world.pass_by(3_600, work=1) == ("", 3_600)
    assert world.asked == 0


def test_a_broker_that_is_away_is_waited_for(world, caplog):
    world.waits = OSError("connection refused")

    assert world.pass_by(3_600) == ("", 3_600)
    assert [record.getMessage() for record in caplog.records] == [
        "the broker does not answer, waiting for it: connection refused"
    ]

    world.waits = "events[3] holds one at offset 7"
    word, passed = world.pass_by(600)
    assert word
    assert passed >= watchdog.FOLD  # once it is back there is as much time as ever


def test_a_takeover_that_moves_may_last(world):
    world.taking_over = True

    assert world.pass_by(3_600, work=1) == ("", 3_600)


@pytest.mark.parametrize("waits", ["", "events[3] holds one at offset 7"])
def test_a_takeover_that_does_not_move_ends_the_process_even_if_nothing_waits(world, waits):
    world.pass_by(1, work=1)
    world.taking_over = True
    world.waits = waits

    word, passed = world.pass_by(600)

    assert word == "taking partitions over has not moved for 120 s, though the broker answers"
    assert passed == watchdog.TAKEOVER


def test_a_process_that_was_stopped_is_given_time_when_it_wakes(world):
    world.waits = "events[3] holds one at offset 7"
    world.turned = world.flushing = world.now
    world.pass_by(50)
    world.now += 1_000  # SIGSTOP, then SIGCONT

    assert world.pass_by(59) == ("", 59)
    assert world.pass_by(5)[0]


def test_asking_slowly_is_no_sleep(world):
    def slowly():
        world.now += 30
        return "events[3] holds one at offset 7"

    world.watch = Watch(slowly, lambda: world.now)

    word, _ = world.pass_by(200)
    assert word.startswith("nothing was folded for ")
