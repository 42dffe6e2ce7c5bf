"""A history: what clients say, and what becomes of the workers that fold it, drawn from one seed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from ops.prove.model import NOW, Broker, Group
from ops.prove.stage import Broken, Build, Disk, Killed, Process
from streams import events, items, profiles, slates, topology
from streams.changelog import NOTE, Reading
from streams.events import Event
from streams.exposures import EXPOSURE, Exposure
from streams.items import Item
from streams.partition import partition_of
from streams.profiles import Profile
from streams.settings import Settings
from streams.slates import Shown, Slate
from streams.topology import STAGES, TABLES, UNITS, partitions_of

WORKERS = 2
LATE = 2 * 86_400_000  # ms
CHANGELOGS = tuple(table.name for table in TABLES)
POISON: tuple[bytes | None, ...] = (b"poison", b"", b"\xc1", None, events.encode([]))
TYPES = ("impression", "view", "click", "purchase", "rating", "hide", "search", "wink")
REQUESTS = 6  # whose slates and events meet
MEASURES = ("lists", "click", "purchase.value", "days", "pre.view", "capped")
ROUNDS = 400  # of everybody doing everything there is to do; a history that is not at rest then never will be

# Chances in one step of the simulation, drawn for each history: what is rare beside everything else shows where it is
# frequent and the rest is rare (swarm testing: Groce et al. 2012).
DEADLY = (0.0, 0.01, 0.03)  # of a process to be killed
SLEEPY = (0.002, 0.02, 0.08)  # to fall asleep
WAKING = (0.0, 0.02, 0.1)  # to wake again
RESTLESS = (0.0, 0.005, 0.03)  # to have its partitions dealt anew
LOSSY = (0.0, 0.2, 0.7)  # of a killed one to lose its disk
DAMAGE = (0.0, 0.003)  # to die at a local step
SLOW = (0.1, 0.25, 0.4)  # of anything on its way to arrive
COMPACTING = (0.0, 0.03, 0.1)  # of a topic to be compacted


@dataclass
class Written:
    """A record that a client writes."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


@dataclass
class Counts:
    """What happened in a history, and, when it came to rest, where the events are."""

    kills: int = 0
    disks_lost: int = 0
    sleeps: int = 0
    generations: int = 0
    folded: int = 0
    duplicates: int = 0
    dead_letters: int = 0


@dataclass
class Worker:
    """The place of a stage in a worker: its disk lasts, its processes come and go."""

    name: str
    stage: topology.Stage
    disk: Disk = field(default_factory=dict)
    process: Process | None = None


class History:
    """Broker, groups and workers of one seed; `run` leaves them at rest.

    Without `harm` nobody dies, sleeps or is moved. `whole` sends are appended whole or not at all.
    """

    def __init__(self, seed: int, build: Build, *, harm: bool = True, harsh: bool = False) -> None:
        draw = self.draw = Random(seed)
        partitions = draw.randint(1, 3)
        self.settings = Settings(
            partitions=partitions, shards=draw.randint(1, min(2, partitions)), dimensions=8
        )
        self.broker = Broker(self.settings, draw)
        self.groups = {stage: Group(partitions_of(self.settings, stage)) for stage in STAGES}
        self.counts = Counts()
        self.whole = draw.random() < 0.5
        self._build = build
        self._harm = harm
        self._harsh = harsh
        (
            self._deadly,
            self._sleepy,
            self._wakes,
            self._restless,
            self._lossy,
            self._damage,
            self._arrives,
            self._compacts,
        ) = (
            draw.choice(chances)
            for chances in (DEADLY, SLEEPY, WAKING, RESTLESS, LOSSY, DAMAGE, SLOW, COMPACTING)
        )
        self.workers = [
            Worker(f"{stage}-{number}", stage)
            for stage in STAGES
            for number in range(WORKERS if harm and draw.random() < 0.8 else 1)
        ]
        self._unsaid = said(self.settings, draw)[::-1]

    def run(self) -> Iterator[None]:
        """Let it happen step by step, then let everything come to rest.

        Raises Broken when a fold fails or rest never comes.
        """
        if self._harm:
            for _ in range(self.draw.randint(60, 300)):
                self._something()
                yield
        self._damage = 0.0
        for worker in self.workers:
            if worker.process is not None:
                worker.process.harm = 0.0
        awake = []
        for worker in self.workers:  # some sleep until all is done without them
            if worker.process is not None and worker.process.asleep:
                self.groups[worker.stage].leave(worker.name)
            else:
                awake.append(worker)
        self._rest(awake)
        for worker in self.workers:
            if worker.process is not None:
                worker.process.asleep = False
        self._rest(self.workers)
        if self._harm and self.draw.random() < 0.5:
            self._hours_later()
            self._rest(self.workers)

    def _hours_later(self) -> None:
        """Compact all that may be, then lose a worker with its disk."""
        for _ in range(4 * self.settings.partitions):
            self._compact()
        worker = self.draw.choice(self.workers)
        self._kill(worker)
        worker.disk = {}

    def _rest(self, workers: list[Worker]) -> None:
        for _ in range(ROUNDS):
            if self._calm(workers):
                return
        raise Broken("the workers never came to rest")

    def _something(self) -> None:
        draw, broker = self.draw, self.broker
        if draw.random() < 0.15:
            for _ in range(draw.randint(1, 4)):
                self._say()
        if broker.wire and draw.random() < self._arrives:
            broker.deliver(calm=False)
        if draw.random() < self._compacts:
            self._compact()
        if draw.random() < 0.1:
            group = draw.choice(list(self.groups.values()))
            if group.moving and group.joined:
                self._deal(group)
        self._act(draw.choice(self.workers))

    def _say(self) -> None:
        if self._unsaid:
            record = self._unsaid.pop()
            self.broker.append((record.topic, record.partition), [(record.key, record.value)])

    def _compact(self) -> None:
        """Compact a topic as far as the broker may.

        A changelog: what its owner read when it took over, once an hour has passed and the owner has nothing more to
        say of it; harshly, any of it. A source: what was folded and committed.
        """
        draw, broker = self.draw, self.broker
        name = draw.choice((*CHANGELOGS, "items", "profiles"))
        number = draw.randrange(partitions_of(self.settings, name))
        if name not in CHANGELOGS:
            stage: topology.Stage = "items" if name == "items" else "users"
            broker.compact((name, number), self.groups[stage].committed.get((name, number), 0))
            return
        place = self.settings.changelog(name), number
        if self._harsh:
            broker.compact(place, draw.randint(0, broker.end(place)))
            return
        reading = Reading(units=name in UNITS)
        rows = reading.read(broker.records(place))
        if not rows.keys() >= set(reading.note.void) - {NOTE}:
            return  # a fenced worker's row has no true one yet: within the hour its records are folded again
        for worker in self.workers:
            process = worker.process
            if process is not None and not process.asleep and process.at_peace(name, number):
                broker.compact(place, process.restored[place])

    def _deal(self, group: Group) -> None:
        group.deal(self.draw)
        self.counts.generations += 1

    def _act(self, worker: Worker) -> None:
        draw, process, group = self.draw, worker.process, self.groups[worker.stage]
        if process is None:
            if draw.random() < 0.3:
                self._start(worker)
            return
        if process.asleep:
            process.asleep = draw.random() > self._wakes
            return
        if draw.random() < self._deadly * (1 + 4 * process.flushing):  # best of all in the middle of a flush
            self._kill(worker)
            return
        if draw.random() < self._sleepy:
            process.asleep = True
            self.counts.sleeps += 1
            if draw.random() < 0.8:  # for longer than its session
                group.leave(process.name)
            return
        if draw.random() < self._restless:
            group.moving = True  # somebody comes or goes elsewhere
        try:
            self._live(process, group)
        except (Killed, Exception):  # noqa: BLE001 - whatever it died of, it starts anew
            self._kill(worker)

    def _live(self, process: Process, group: Group) -> None:
        draw = self.draw
        process.turn()
        if process.state == "waiting":
            if process.name in group.members and process.generation != group.generation:
                process.take_over()
            elif process.name not in group.joined:
                group.join(process.name)
        elif process.state == "working":
            chance = draw.random()
            told = group.moving or process.generation != group.generation
            number = draw.randrange(group.partitions)
            if number not in process.partitions and chance > 0.95:
                process.restore(number, whole=False)  # as a standby
            if told and chance < 0.15:
                process.settle()
            elif chance < 0.65:
                if ready := process.ready():
                    process.fold(draw.choice(ready), draw.randint(1, 4))
            elif chance < 0.85:
                process.flush()
            elif not process.commit() and draw.random() < 0.1:
                raise Killed

    def _start(self, worker: Worker) -> None:
        group = self.groups[worker.stage]
        worker.process = Process(
            worker.name,
            worker.stage,
            self.settings,
            self.broker,
            group,
            worker.disk,
            self._build,
            self.draw,
            self._damage,
            self.whole,
        )
        if worker.name in group.members and not group.moving:
            return  # back before anybody noticed: a static member has its partitions again
        group.leave(worker.name)

    def _kill(self, worker: Worker) -> None:
        process, draw = worker.process, self.draw
        assert process is not None
        self.counts.kills += 1
        self.broker.cut_off(process)
        worker.process = None
        if draw.random() < self._lossy:
            worker.disk = {}
            self.counts.disks_lost += 1
        if draw.random() < 0.5:
            self.groups[worker.stage].leave(worker.name)

    def _calm(self, workers: list[Worker]) -> bool:
        """Let workers do what there is to do; tell whether there was nothing."""
        rest = not self._unsaid
        while self._unsaid:
            self._say()
        for worker in workers:
            if worker.process is None:
                self._start(worker)
                rest = False
            process = worker.process
            assert process is not None
            group = self.groups[worker.stage]
            try:
                rest &= self._do_all(process, group)
            except (Killed, Exception):  # noqa: BLE001 - whatever it died of, it starts anew
                self._kill(worker)
                rest = False
        while self.broker.wire:
            self.broker.deliver(calm=True)
            rest = False
        for stage, group in self.groups.items():
            names = [worker.name for worker in workers if worker.stage == stage]
            if group.moving and names and all(name in group.joined for name in names):
                self._deal(group)
                rest = False
        return rest

    def _do_all(self, process: Process, group: Group) -> bool:
        process.turn()
        if process.state == "waiting":
            if process.name in group.members and process.generation != group.generation:
                process.take_over()
            elif process.name not in group.joined:
                group.join(process.name)
            return False
        if process.state == "settling":
            return False
        if group.moving or process.generation != group.generation:
            process.settle()
            return False
        if process.flushing:
            return False
        ready = process.ready()
        for place in ready:
            process.fold(place, 8)
        dirty = process.dirty
        process.flush()
        process.commit()
        return not ready and not dirty and not process.flushing


def said(settings: Settings, draw: Random) -> list[Written]:
    """Return what clients write: batches of events, some twice, swapped, late or poisoned; profiles and a catalogue."""
    users = [f"u{n}" for n in range(draw.randint(1, 5))]
    things = [f"i{n}" for n in range(draw.randint(1, 6))]
    written: list[Written] = []
    waiting: dict[int, list[Event]] = {}
    for n in range(draw.randint(15, 40)):
        who = draw.choice(users)
        event = _exposure(n, who, draw) if draw.random() < 0.2 else _event(n, who, draw.choice(things), draw)
        number = partition_of(event.user, settings.partitions)
        waiting.setdefault(number, []).append(event)
        if draw.random() < 0.05:
            waiting[number].append(draw.choice(waiting[number]))  # a client's second try
        if draw.random() < 0.5:
            batch = waiting.pop(number)
            written.append(Written("events", number, b"k", events.encode(batch)))
            if draw.random() < 0.05:
                written.append(written[-1])
        if draw.random() < 0.03:
            written.append(Written("events", number, b"k", draw.choice(POISON)))
        if draw.random() < 0.08:
            user = draw.choice(users)
            profile = draw.choice((None, profiles.encode(Profile(attributes={"n": draw.random()}))))
            written.append(
                Written("profiles", partition_of(user, settings.partitions), user.encode(), profile)
            )
        if draw.random() < 0.08:
            written.append(_slate(f"r{draw.randrange(REQUESTS)}", draw.choice(users), things, settings, draw))
        if draw.random() < 0.08:
            thing = draw.choice(things)
            item = draw.choice((None, items.encode(Item(title=str(n)))))
            written.append(Written("items", partition_of(thing, settings.partitions), thing.encode(), item))
        if draw.random() < 0.02:  # under a key of its own: compaction would let it stand for a good record
            topic, key = draw.choice(("items", "profiles")), f"poison-{n}"
            written.append(Written(topic, partition_of(key, settings.partitions), key.encode(), b"poison"))
    written += [Written("events", n, b"k", events.encode(batch)) for n, batch in waiting.items()]
    for n in range(len(written) - 1):
        if draw.random() < 0.05:
            written[n], written[n + 1] = written[n + 1], written[n]
    return written


def _slate(request: str, user: str, things: list[str], settings: Settings, draw: Random) -> Written:
    shown = tuple(
        Shown(item, place, 1.0, 1.0, "popular", (draw.random(), 1.0)) for place, item in enumerate(things)
    )
    at = (NOW - 1_000 + draw.randrange(60)) * 1_000
    slate = Slate(
        request_id=request, user_id=user, at=at, surface="home", rung="full", features=("a", "b"), items=shown
    )
    return Written("slates", partition_of(user, settings.partitions), user.encode(), slates.encode(slate))


def _exposure(n: int, user: str, draw: Random) -> Event:
    """Return an exposure to some experiments; now and then a version, an arm or a session is another one."""
    chance = draw.random
    return Event(
        event_id=f"e{n}",
        type=EXPOSURE,
        at=(NOW - 1_000 + n) * 1_000 - (LATE if chance() < 0.1 else 0),
        user_id=user,
        value=draw.randint(1, 5),
        request_id=f"r{draw.randrange(REQUESTS)}",
        surface="home",
        exposures=tuple(
            Exposure(
                key, 1 + (chance() < 0.1), draw.choice("ab"), MEASURES, unit="" if chance() < 0.9 else "other"
            )
            for key in draw.sample("xyz", draw.randint(1, 2))
        ),
    )


def _event(n: int, user: str, item: str, draw: Random) -> Event:
    chance = draw.random
    return Event(
        event_id=f"e{n}",
        type=draw.choice(TYPES),
        at=(NOW - 1_000 + n) * 1_000 - (LATE if chance() < 0.02 else 0),
        user_id=user,
        item_id=None if chance() < 0.1 else item,
        value=None if chance() < 0.5 else draw.randint(0, 5),
        request_id=None if chance() < 0.5 else f"r{draw.randrange(REQUESTS)}",
        surface=None if chance() < 0.7 else "home",
        position=None if chance() < 0.7 else draw.randrange(10),
        categories=() if chance() < 0.6 else (draw.choice("abc"),),
    )
