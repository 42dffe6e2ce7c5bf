"""Histories that simulated workers have lived (ops/prove): the log they leave, and what is on their disks."""

import contextlib
from dataclasses import replace
from functools import cache
from itertools import count

from rocksdict import Options, Rdict, WriteBatch

from agents.batch import OFFSET
from agents.learner import compile_kernels
from ops.log.fake import Log
from ops.prove.histories import History
from ops.prove.stage import Build
from ops.state.fold import stage_of
from streams.settings import Settings
from streams.topology import STAGES, TABLES, TOPICS, partitions_of

PARTITIONS, SHARDS = 2, 1
compile_kernels()  # before any test's clock runs


@cache
def _history(seed, harm):
    """The first history from a seed on with the usual partitions, lived to its end."""
    for at in count(100 * seed):
        history = History(at, Build(), harm=harm)
        if (history.settings.partitions, history.settings.shards) == (PARTITIONS, SHARDS):
            for _ in history.run():
                pass
            return history
    raise AssertionError


def a_log(seed=0, harm=False):
    """The settings of a history and its log, changelogs as `TABLE-changelog`."""
    history = _history(seed, harm)
    settings, log = history.settings, Log(PARTITIONS, SHARDS)
    names = {topic.name: settings.topic(topic.name) for topic in TOPICS}
    names |= {f"{table.name}-changelog": settings.changelog(table.name) for table in TABLES}
    for topic, name in names.items():
        for number in range(PARTITIONS):
            log._records[topic, number] = [
                replace(record) for record in history.broker.records((name, number))
            ]
            log._ends[topic, number] = history.broker.end((name, number))
    return settings, log


def disks(seed=0, harm=False):
    """The rows of every table by partition, and the note, as the worker that owns them has them."""
    history = _history(seed, harm)
    found = {}
    for stage, tables in STAGES.items():
        group = history.groups[stage]
        for worker in (worker for worker in history.workers if worker.stage == stage):
            for number in group.members[worker.name]:
                for table in tables:
                    found.setdefault(table, {})[number] = dict(worker.disk[table].rows.get(number, {}))
    return found


def worker(settings, name, rows, offset, table="users", partition=0):
    """The database of a worker, open as long as it runs."""
    folder = settings.data / name / settings.group(stage_of(table)) / "v1" / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    db = Rdict(str(folder / f"{table}-{partition}.db"), Options(raw_mode=True))
    batch = WriteBatch(raw_mode=True)
    for key, row in {**rows, OFFSET: str(offset).encode()}.items():
        batch.put(key, row)
    db.write(batch)
    return contextlib.closing(db)


class Lived:
    """A log after workers lived on it, with crashes, and the RocksDB they left."""

    def __init__(self, data, seed=0, harm=True):
        settings, self.log = a_log(seed, harm)
        self.settings = replace(settings, data=data)
        self.tables = disks(seed, harm)

    def disks(self):
        """Put what the workers have on their disks there, as long as the block lasts."""
        opened = contextlib.ExitStack()
        for table, partitions in self.tables.items():
            for number, rows in partitions.items():
                end = self.log.spans(f"{table}-changelog").get(number, (0, 0))[1] - 1
                opened.enter_context(worker(self.settings, "worker-0", rows, end, table, number))
        return opened


def places():
    """Every stage with each of its partitions."""
    settings = Settings(partitions=PARTITIONS, shards=SHARDS)
    return [(stage, number) for stage in STAGES for number in range(partitions_of(settings, stage))]
