"""The command on simulated users: `refold simulate`."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ops.say import Json
from streams.settings import Settings


class Scenario(StrEnum):
    """What the users live through."""

    LOOP = "loop"
    BETTER = "better-arm"
    BROKEN = "broken-arm"


def register(app: typer.Typer) -> None:
    """Add the command to `refold`."""
    app.command()(simulate)


def simulate(
    scenario: Annotated[
        Scenario, typer.Option(help="from a cold start, or with an experiment")
    ] = Scenario.LOOP,
    users: Annotated[int, typer.Option(min=50, max=20_000)] = 1000,
    items: Annotated[int, typer.Option(min=50, max=20_000)] = 500,
    steps: Annotated[
        int, typer.Option(min=5, max=10_000, help="in each of which a tenth of the users ask for a list")
    ] = 50,
    seed: Annotated[int, typer.Option(min=0, help="of the world and of all choices")] = 1,
    plot: Annotated[
        Path | None, typer.Option(help="draw click rates over the steps: an .svg or .html file")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let simulated users with known tastes live with a real system, and say how good their lists were.

    It runs a worker and an API process of its own, on the Kafka of REFOLD_KAFKA or an embedded broker.
    """
    from ops.evaluate.plot import check
    from ops.progress import bar
    from ops.simulate.run import draw, show
    from ops.simulate.run import simulate as run

    if plot is not None:
        check(plot)
    given, embedded = Settings.from_env(), "REFOLD_KAFKA" not in os.environ
    with bar("living") as begin:
        said = run(
            given,
            scenario,
            embedded=embedded,
            people=users,
            things=items,
            steps=steps,
            seed=seed,
            begin=begin,
        )
    if plot is not None:
        draw(plot, said)
    if as_json:
        print(json.dumps(said))
    else:
        show(said)
    raise typer.Exit(0 if said["ok"] else 1)
