"""The command that judges a configuration from logged slates; it reads its settings from the environment."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ops.say import Json
from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to `refold`."""
    app.command()(ope)


def ope(
    policy: Annotated[
        Path,
        typer.Option(
            help="the configuration to judge, as REFOLD_CONFIG would name it", exists=True, dir_okay=False
        ),
    ],
    begin: Annotated[str, typer.Option("--from", help="requests from then on: ISO 8601, ms, or `2h` ago")],
    until: Annotated[str, typer.Option(help="and up to then")] = "now",
    surface: Annotated[str, typer.Option(help="only this surface")] = "",
    action: Annotated[
        str, typer.Option(help="what shall happen: an event type that means interest")
    ] = "click",
    as_json: Json = False,
) -> None:
    """Tell from logged slates how often another configuration's lists would be clicked, before anyone sees one."""
    from models.surfaces import load
    from ops.judge import ope as judged
    from ops.judge.rankers import rankers_of
    from ops.past.replay import ground
    from ops.past.what_if import other_config
    from ops.progress import bar
    from streams import experiments
    from streams import models as registries
    from streams.errors import Refused
    from streams.times import parse

    settings, now = Settings.from_env(), time.time_ns() // 1_000_000
    current = load(settings.config)
    other = other_config(policy, current)
    if surface and surface not in current.surfaces:
        raise Refused(f"--surface {surface}: not configured; there are {', '.join(sorted(current.surfaces))}")
    concerned = [
        one for config in (current, other) for name, one in config.surfaces.items() if surface in ("", name)
    ]
    rankers = rankers_of(settings, registries.load(settings), concerned)
    with ground(settings, current.actions) as on, bar("judging") as progress:
        report = judged.ope(
            on, current, other, parse(begin, now), parse(until, now), surface=surface, action=action,
            rankers=rankers, known=experiments.load(settings), progress=progress,
        )  # fmt: skip
    print(json.dumps(report) if as_json else "\n".join(judged.text(report)))
