"""How fast the whole log is folded again: all folds, from fetching to acknowledged rows, compared with the live ones.

A worker folds each log first, all its stages to the end: what they did a second, over single-event records, is what
`over_live` is measured against. These are so many that starting a rebuild hardly counts. Then `refold rebuild` folds
the same log with two processes. Its time counts whole: making topics, reading and comparing the live tables, writing
the changelogs, committing offsets. `users_cpu_s`, `items_cpu_s` and `learner_cpu_s` are what it took of processors for
each stage, and `cpu_linearity` what a tenth of the log took of them over a tenth of what all of it did;
`cpu_over_live` is what the worker took of them for the same events, over that of the rebuild: both count
their processes from start to end, and hardly depend on what else the machine does.
"""

import asyncio
import resource
import sys
import tempfile
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import load
from bench.ingest import BATCH, measure, produce
from bench.report import AT_LEAST, AT_MOST, report
from models.surfaces import load as configured
from ops.broker import topics
from ops.processes import Processes
from ops.state.rebuild import rebuild
from streams.errors import StateError
from streams.settings import Settings

PROCESSES = 2
TARGETS = {
    "events_per_s": (AT_LEAST, 50_000.0),
    "over_live": (AT_LEAST, 5.0),
    "linearity": (AT_LEAST, 0.8),
    "rss_mb": (AT_MOST, 1_024.0),
}


@dataclass(frozen=True)
class Measured:
    """Events a second of the worker and of the rebuild; `lighter` is the worker's processor time over the rebuild's.

    `rss` is the most MiB that a process of the rebuild held, `busy` its processor seconds by stage.
    """

    live: float
    rebuilt: float
    lighter: float
    rss: float
    busy: dict[str, float]


def run(settings: Settings, events: int = 2_000_000, singles: int = 600_000) -> dict[str, Any]:
    """Measure on the broker of `settings` and return the report."""
    single = _measure(settings, singles, 1)
    tenth = _measure(settings, events // 10, BATCH)
    whole = _measure(settings, events, BATCH)
    figures = {
        "events_per_s": round(whole.rebuilt),
        "live_events_per_s": round(whole.live),
        "single_events_per_s": round(single.rebuilt),
        "live_single_events_per_s": round(single.live),
        "over_live": round(single.rebuilt / single.live, 2),
        "cpu_over_live": round(single.lighter, 2),
        "tenth_events_per_s": round(tenth.rebuilt),
        "linearity": round(whole.rebuilt / tenth.rebuilt, 2),
        "cpu_linearity": round(10 * sum(tenth.busy.values()) / sum(whole.busy.values()), 2),
        **{f"single_{stage}_cpu_s": seconds for stage, seconds in single.busy.items()},
        **{f"{stage}_cpu_s": seconds for stage, seconds in whole.busy.items()},
        "rss_mb": max(single.rss, tenth.rss, whole.rss),
        "events": events,
        "singles": singles,
    }
    return report("rebuild", settings.kafka, figures, TARGETS)


def _measure(settings: Settings, events: int, batch: int) -> Measured:
    """Fold a log of its own live, then again. Raises StateError when the two differ."""
    with tempfile.TemporaryDirectory(prefix="refold-bench-") as folder:
        here = replace(settings, data=Path(folder), namespace=f"bench-{uuid.uuid4().hex[:8]}")
        topics.create(here)
        records = asyncio.run(produce(here, load.events(events), batch))
        began = _processor_seconds()
        with Processes(Path(folder)) as processes:
            worker = [sys.executable, "-m", "ops.cli", "worker"]
            live = measure(here, processes, "worker", worker, records).learned
        folded = _processor_seconds()
        done = rebuild(here, configured(here.config).actions, switch=False, processes=PROCESSES)
        lighter = (folded - began) / (_processor_seconds() - folded)
    print(done, file=sys.stderr)
    if done["verdict"] != "equal" or done["events"] != events:
        raise StateError(f"the rebuild is not what the worker folded: {done}")
    return Measured(
        live * events / records, done["events"] / done["seconds"], lighter, done["rss_mb"], done["busy"]
    )


def _processor_seconds() -> float:
    """Return what the processes that have ended took of processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
