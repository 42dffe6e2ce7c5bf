"""The command on features: the catalogue of what a model sees of a candidate, and whether it is what the log says."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from ops.say import Json
from streams.checks import OLDEST
from streams.settings import Settings
from streams.times import parse

LAST = 1_000  # slates that are checked where no span is asked for


def register(app: typer.Typer) -> None:
    """Add the command to `refold`."""
    app.command("features")(show)


def show(
    check: Annotated[
        bool, typer.Option("--check", help="compute those logged with slates anew from the log, and compare")
    ] = False,
    begin: Annotated[
        str, typer.Option("--from", help="check slates from then on: ISO 8601, ms, or `2h` ago")
    ] = "",
    until: Annotated[str, typer.Option(help="and up to then")] = "now",
    last: Annotated[
        int, typer.Option(min=0, help="check only the last so many; 0: all; without --from 1,000")
    ] = 0,
    users: Annotated[str, typer.Option(help="check only those of these users, split by commas")] = "",
    as_json: Json = False,
) -> None:
    """List every feature of a candidate: its class, scope, table, time to live, default and meaning.

    With --check, the exit code is 1 when anything that was logged is not what the log says.
    """
    if check:
        _check(begin, until, last, [user for user in users.split(",") if user], as_json)
    if as_json:
        print(json.dumps(rows()))
        return
    table = Table("feature", "class", "scope", "table", "ttl", "default", "meaning")
    for row in rows():
        ttl = f"{row['ttl_s'] / 3600:g} h" if row["ttl_s"] else "-"
        table.add_row(
            row["name"], row["freshness"], row["scope"], row["owner"], ttl, f"{row['default']:g}", row["help"]
        )
    Console().print(table)


def _check(begin: str, until: str, last: int, users: Sequence[str], as_json: bool) -> NoReturn:
    """Compare logged features with the log, print what was found and exit."""
    from models.surfaces import load  # noqa: PLC0415 - so that `refold --help` is quick
    from ops.past import skew  # noqa: PLC0415
    from ops.past.replay import ground  # noqa: PLC0415
    from ops.progress import bar  # noqa: PLC0415

    settings, now = Settings.from_env(), time.time_ns() // 1_000_000
    span = parse(begin, now) if begin else OLDEST, parse(until, now)
    last = last or (0 if begin else LAST)
    with ground(settings, load(settings.config).actions) as on, bar("folding") as progress:
        report = skew.check(on, *span, last, users, progress)
    print(json.dumps(report) if as_json else "\n".join(skew.text(report)))
    raise typer.Exit(1 if report["mismatches"] else 0)


def rows() -> list[dict[str, Any]]:
    """Return the catalogue for a program; `ttl_s` in seconds, 0 for what is never too old."""
    from models.features import CATALOGUE  # noqa: PLC0415 - so that `refold --help` is quick

    return [
        {
            **{key: value for key, value in asdict(feature).items() if key != "ttl"},
            "ttl_s": feature.ttl // 1000,
        }
        for feature in CATALOGUE
    ]
