"""Start a worker: `refold worker`."""

from collections.abc import Mapping

import faust

from agents.app import create_app
from streams.settings import Settings


def run(settings: Settings, weights: Mapping[str, float], loglevel: str = "INFO") -> None:
    """Run the worker until SIGTERM or Ctrl-C; exits with 70 when an invariant broke."""
    import uvloop  # noqa: PLC0415 - only a worker that runs needs it

    uvloop.install()
    (settings.data / settings.worker).mkdir(parents=True, exist_ok=True)
    worker = faust.Worker(create_app(settings, weights), loglevel=loglevel, quiet=False)
    worker.execute_from_commandline()
