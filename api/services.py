"""Services: what the routes work with, composed in api/app.py and handed to each of them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.admission import Admission
from api.ahead import Ahead
from api.engine import Engine
from api.experiments import Follower as Experiments
from api.ingest import Ingest
from api.metrics import Metrics
from api.producer import Producer
from api.slates import SlateLog
from api.state import Tables
from api.travel import Travel
from streams.settings import Settings


def wall_clock() -> int:
    """Return the time in ms since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything an endpoint may ask."""

    settings: Settings
    trouble: Callable[[], str]
    generation: Callable[[], int]
    engine: Engine
    experiments: Experiments
    models: Callable[[], Sequence[str]]
    producer: Producer
    ingest: Ingest
    slates: SlateLog
    ahead: Ahead
    metrics: Metrics
    recommending: Admission
    ingesting: Admission
    travel: Travel | None
    now: Callable[[], int] = wall_clock

    @property
    def tables(self) -> Tables:
        """The tables answers are made of right now; ask again after every pause."""
        return self.engine.state.tables
