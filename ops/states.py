"""The commands on the state and the log; each reads its settings from the environment and calls one function."""

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer

from streams.settings import Settings

Partitions = Annotated[
    list[int] | None, typer.Option("--partition", help="only this partition; may be repeated")
]


class Table(StrEnum):
    """A table of the topology."""

    USERS = "users"
    ITEMS = "items"
    POPULAR = "popular"


class Place(StrEnum):
    """Where rows are read: at a worker of this machine, in the changelog, or by a fold of the log."""

    LIVE = "live"
    CHANGELOG = "changelog"
    LOG = "log"


class At(StrEnum):
    """How far the log is folded: to where the table stands, or to its end."""

    LIVE = "live"
    END = "end"


def register(app: typer.Typer) -> None:
    """Add the commands to `refold`."""
    app.command()(dump)
    app.command()(prove)


def dump(
    table: Annotated[Table, typer.Argument(help="the table")],
    place: Annotated[
        Place, typer.Option("--from", help="a worker's RocksDB here, the changelog, or the log")
    ],
    partition: Partitions = None,
    digest: Annotated[
        bool, typer.Option("--digest", help="one line for each partition, with its hash")
    ] = False,
    at: Annotated[At, typer.Option(help="fold the log to where the table stands, or to its end")] = At.LIVE,
) -> None:
    """Print a table's rows, one JSON a line, sorted by partition and key."""
    from models.surfaces import load
    from ops.dump import lines
    from streams.generations import of_live

    settings = of_live(Settings.from_env())
    weights = load(settings.config).actions
    numbers = partition or range(settings.partitions)
    for line in lines(settings, table, place, numbers, weights, to_end=at is At.END, digests=digest):
        print(json.dumps(line))


def prove(
    quick: Annotated[
        bool, typer.Option("--quick", help="one short scenario, or the chosen one in short")
    ] = False,
    scenario: Annotated[
        list[str] | None, typer.Option(help="only this one of docs/prove.md; may be repeated")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the workload and of what is harmed when")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="nothing but verdicts, one JSON a line")] = False,
) -> None:
    """Kill workers, disks and a broker of their own under load, and compare every table with the fold of the log."""
    from ops.prove.verdicts import prove, together

    def say(name: str) -> None:
        if not as_json:
            print(f"{name} ...", file=sys.stderr, flush=True)

    verdicts = []
    for verdict in prove(Settings.from_env(), scenario or (), seed, quick=quick, say=say):
        verdicts.append(verdict)
        print(json.dumps(verdict), flush=True)
    if len(verdicts) > 1:
        print(json.dumps(together(verdicts, seed)), flush=True)
    raise typer.Exit(0 if all(verdict["verdict"] == "equal" for verdict in verdicts) else 1)
