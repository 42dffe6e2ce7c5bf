"""Run one stage of a worker in this process; `refold worker` runs all, a process each."""

import gc
from collections.abc import Mapping

import faust
import uvloop

from agents.app import create_app
from agents.crash import die, why
from agents.learner import compile_kernels
from streams.seldom import speak_seldom
from streams.settings import Settings
from streams.topology import Stage


class Worker(faust.Worker):  # type: ignore[misc]
    """Faust's worker, without its way of stopping half of itself after an error, or of starting half."""

    async def start(self) -> None:
        """Start everything, or end the process."""
        try:
            await super().start()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is folded
            die(f"it could not start: {why(error)}")

    def _setup_logging(self) -> None:
        super()._setup_logging()
        speak_seldom()

    def _crash(self, reason: BaseException) -> None:
        die(f"a part of it broke: {why(reason)}")


def run(settings: Settings, stage: Stage, weights: Mapping[str, float], loglevel: str = "INFO") -> None:
    """Run until SIGTERM or Ctrl-C; exits with 70 when an invariant broke."""
    uvloop.install()
    gc.set_threshold(50_000, 20, 100)  # states live long; looking through them all the time finds nothing
    try:
        (settings.data / settings.worker / settings.group(stage)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        die(f"it could not start: {why(error)}")
    if stage == "learner":
        compile_kernels()
    Worker(create_app(settings, stage, weights), loglevel=loglevel).execute_from_commandline()
