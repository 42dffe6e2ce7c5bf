"""The commands on the state; each reads its settings from the environment and calls one function."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ops.say import Json, say
from streams.settings import Settings

Partitions = Annotated[
    list[int] | None, typer.Option("--partition", help="only this partition; may be repeated")
]

generations = typer.Typer(no_args_is_help=True, help="The generations of the state.")


# where rows are read: at a worker here, in the changelog, by a fold of the log
PLACES = ("live", "changelog", "log")


class Table(StrEnum):
    """A table of the topology."""

    USERS = "users"
    SHOWN = "shown"
    ITEMS = "items"
    POPULAR = "popular"
    OUTCOMES = "outcomes"
    LEARNED = "learned"


class At(StrEnum):
    """How far the log is folded: to where the table stands, or to its end."""

    LIVE = "live"
    END = "end"


def register(app: typer.Typer) -> None:
    """Add the commands to `refold`."""
    app.command()(dump)
    app.command()(verify)
    app.command()(audit)
    app.command()(rebuild)
    app.add_typer(generations, name="generations")
    app.command()(prove)


def dump(
    table: Annotated[Table, typer.Argument(help="the table")],
    place: Annotated[
        str,
        typer.Option(
            "--from", help="`live` (a worker's RocksDB here), `changelog`, `log`, or a folder of a replay"
        ),
    ],
    partition: Partitions = None,
    digest: Annotated[
        bool, typer.Option("--digest", help="one line for each partition, with its hash")
    ] = False,
    at: Annotated[At, typer.Option(help="fold the log to where the table stands, or to its end")] = At.LIVE,
) -> None:
    """Print a table's rows, one JSON a line, sorted by partition and key."""
    from models.surfaces import load
    from ops.state.dump import lines, replayed
    from streams.generations import of_live
    from streams.topology import partitions_of

    if place in PLACES:
        settings = of_live(Settings.from_env())
        weights = load(settings.config).actions
        numbers = partition or range(partitions_of(settings, table))
        found = lines(settings, table, place, numbers, weights, to_end=at is At.END, digests=digest)
    elif Path(place).is_dir():
        found = replayed(Path(place), table, partition, digests=digest)
    else:
        raise typer.BadParameter(f"--from {place!r} is none of {', '.join(PLACES)}, and no folder")
    for line in found:
        print(json.dumps(line))


def verify(
    table: Annotated[Table | None, typer.Option(help="only this table")] = None,
    count: Annotated[
        int | None, typer.Option("--sample", min=1, help="so many partitions of tables, drawn at random")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the sample")] = 0,
    as_json: Json = False,
) -> None:
    """Compare tables, while workers run, with the fold of the log; exit code 1 when anything differs."""
    from models.surfaces import load
    from ops.progress import bar
    from ops.state.verdict import text
    from ops.state.verify import check, every, sample
    from streams.generations import of_live

    settings = of_live(Settings.from_env())
    units = every(settings, table)
    chosen = units if count is None else sample(units, count, seed)
    equal = True
    with bar("verifying") as begin:
        for report in check(settings, load(settings.config).actions, chosen, begin):
            equal = equal and report["verdict"] == "equal"
            print(json.dumps(report) if as_json else text(report), flush=True)
    if as_json:
        print(json.dumps({"verdict": "equal" if equal else "different"}))
    raise typer.Exit(0 if equal else 1)


def audit(
    day: Annotated[
        int | None,
        typer.Option(help="take the partition of this day, counted since 1970; without it of today"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify the one partition of one table whose day it is, and heal it where its rows are not those of the log."""
    from models.surfaces import load
    from ops.progress import bar
    from ops.state.audit import audit as check
    from ops.state.audit import today
    from ops.state.verdict import text
    from streams.generations import of_live

    settings = of_live(Settings.from_env())
    wrong = 0
    with bar("auditing") as begin:
        for report in check(settings, load(settings.config).actions, today() if day is None else day, begin):
            print(json.dumps(report) if as_json else text(report), flush=True)
            wrong += report["verdict"] == "different" and "topic" in report  # rows are healed, or it raised
    raise typer.Exit(1 if wrong else 0)


def rebuild(
    switch: Annotated[
        bool, typer.Option("--switch", help="make it live once it is level with the live one")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fold the log again into a new generation of the state, beside the live one, and compare the two."""
    from models.surfaces import load
    from ops.progress import bar, status
    from ops.state.rebuild import rebuild as run

    settings = Settings.from_env()
    with bar("rebuild") as begin, status() as tell:
        done = run(settings, load(settings.config).actions, switch=switch, begin=begin, tell=tell)
    say(done, as_json)


@generations.command("list")
def generations_list(as_json: Json = False) -> None:
    """List the generations of the state: number, stage, how they are folded, records behind."""
    from ops.state.generations import listed

    for one in listed(Settings.from_env()):
        say(one, as_json)


@generations.command("switch")
def generations_switch(number: Annotated[int, typer.Argument(help="the generation to serve")]) -> None:
    """Make a generation live as soon as it is level with the one that is; the old one stands by."""
    from ops.progress import status
    from ops.state.generations import switch

    with status() as tell:
        switch(Settings.from_env(), number, tell)
    print(f"generation {number} is live")


@generations.command("drop")
def generations_drop(number: Annotated[int, typer.Argument(help="the generation to forget")]) -> None:
    """Delete a generation that is not live: its topics, groups and folders."""
    from ops.progress import status
    from ops.state.generations import drop

    with status() as tell:
        drop(Settings.from_env(), number, tell)
    print(f"generation {number} is dropped")


def prove(
    quick: Annotated[
        bool, typer.Option("--quick", help="the simulator and one short scenario, or the chosen one in short")
    ] = False,
    scenario: Annotated[
        list[str] | None, typer.Option(help="only this one of docs/prove.md; may be repeated")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the workload and of what is harmed when")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="nothing but verdicts, one JSON a line")] = False,
) -> None:
    """Kill workers, disks and a broker of their own under load, and compare every table with the fold of the log."""
    from ops.prove.verdicts import prove, together

    def name_it(name: str) -> None:
        if not as_json:
            print(f"{name} ...", file=sys.stderr, flush=True)

    verdicts = []
    for verdict in prove(Settings.from_env(), scenario or (), seed, quick=quick, say=name_it):
        verdicts.append(verdict)
        print(json.dumps(verdict), flush=True)
    if len(verdicts) > 1:
        print(json.dumps(together(verdicts, seed)), flush=True)
    raise typer.Exit(0 if all(verdict["verdict"] == "equal" for verdict in verdicts) else 1)
