"""One stage of one generation in this process, as `refold worker` starts it: `python -m ops.run.stage`."""

import sys

from agents.crash import die
from agents.worker import run
from models.surfaces import load
from ops.state.fold import fingerprints
from streams.errors import RefoldError
from streams.settings import Settings
from streams.topology import STAGES, Stage


def main(stage: Stage, loglevel: str, recorded: str) -> None:
    """Run the stage of the generation that the environment names, if this code folds as is recorded of it."""
    try:
        settings = Settings.from_env()
        weights = load(settings.config).actions
    except RefoldError as error:
        die(str(error))
    if (folds := fingerprints(settings, weights)[stage]) != recorded:
        die(
            f"the folds changed: the {stage} of generation {settings.generation} are folded by {recorded!r}, not by "
            f"{folds!r}: run `refold rebuild`"
        )
    run(settings, stage, weights, loglevel)


if __name__ == "__main__":
    chosen, loglevel, recorded = sys.argv[1:]
    main(next(stage for stage in STAGES if stage == chosen), loglevel, recorded)
