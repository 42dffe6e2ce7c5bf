"""Run one stage of a worker in this process; `refold worker` runs both, a process each."""

import gc
from collections.abc import Mapping

import faust
import uvloop

from agents.app import Stage, create_app
from streams.settings import Settings


def run(settings: Settings, stage: Stage, weights: Mapping[str, float], loglevel: str = "INFO") -> None:
    """Run until SIGTERM or Ctrl-C; exits with 70 when an invariant broke."""
    uvloop.install()
    gc.set_threshold(50_000, 20, 100)  # states live long; looking through them all the time finds nothing
    (settings.data / settings.worker / settings.group(stage)).mkdir(parents=True, exist_ok=True)
    faust.Worker(create_app(settings, stage, weights), loglevel=loglevel).execute_from_commandline()
