"""The commands on the state and the log; each reads its settings from the environment and calls one function."""

import json
import sys
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from streams.errors import SettingsError
from streams.settings import Settings

Partitions = Annotated[
    list[int] | None, typer.Option("--partition", help="only this partition; may be repeated")
]

Json = Annotated[bool, typer.Option("--json", help="print JSON for a program")]

generations = typer.Typer(no_args_is_help=True, help="The generations of the state.")


PLACES = (
    "live",
    "changelog",
    "log",
)  # where rows are read: at a worker here, in the changelog, by a fold of the log


class Table(StrEnum):
    """A table of the topology."""

    USERS = "users"
    ITEMS = "items"
    POPULAR = "popular"


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
    app.command()(replay)
    app.command()(snapshot)
    app.command()(what_if)
    app.command()(export)
    app.command("import")(restore)
    app.command()(erase)


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
    from ops.dump import lines, replayed
    from streams.generations import of_live

    if place in PLACES:
        settings = of_live(Settings.from_env())
        weights = load(settings.config).actions
        numbers = partition or range(settings.partitions)
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
    """Compare tables, while workers run, with the fold of the log; exit code 1 when any row or touch differs."""
    from models.surfaces import load
    from ops.progress import bar
    from ops.verdict import text
    from ops.verify import check, every, sample
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


def export(
    into: Annotated[Path, typer.Option(help="an empty folder, or that of an export to go on with")],
    since: Annotated[str, typer.Option("--from", help="only what was said from this time on")] = "",
    until: Annotated[str, typer.Option(help="only what was said up to this time")] = "",
    as_json: Json = False,
) -> None:
    """Write the log as Parquet files by topic and day, with a manifest."""
    from ops import export as exports
    from ops.progress import bar
    from streams.generations import of_live
    from streams.times import parse

    settings, now = of_live(Settings.from_env()), time.time_ns() // 1_000_000
    first, last = (parse(at, now) if at else None for at in (since, until))
    with bar("exporting") as begin:
        done = exports.export(settings, into, first, last, begin)
    say(done, as_json)


def restore(
    folder: Annotated[Path, typer.Argument(help="the folder of an export", exists=True, file_okay=False)],
    as_json: Json = False,
) -> None:
    """Restore an export into empty topics, every record at its old offset, and fold it."""
    from models.surfaces import load
    from ops import imports
    from ops.progress import bar, status

    settings = Settings.from_env()
    weights = load(settings.config).actions
    with bar("importing") as begin:
        done = imports.restore(settings, folder, begin)
    with bar("folding") as begin, status() as tell:
        folded = imports.fold(settings, folder, weights, begin, tell)
    say({**done, "folded": folded}, as_json)


def erase(
    user: Annotated[
        str, typer.Argument(help="the user's id; for someone unknown `session:` and the session's")
    ],
    log: Annotated[bool, typer.Option("--log", help="look in the log, and tell what would go")] = False,
    cut: Annotated[bool, typer.Option("--cut", help="with --log: take the user out of it, for ever")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="look in every topic there is; exit code 1 if one names the user")
    ] = False,
    as_json: Json = False,
) -> None:
    """Have the running system forget a user; with --log --cut the log, too."""
    from ops import erase as erasing
    from ops.look import look
    from ops.progress import bar

    settings = Settings.from_env()
    if cut and not log:
        raise SettingsError("--cut cuts the log: say --log --cut")
    with bar("looking" if check or not cut else "erasing") as begin:
        if check:
            done = look(settings, user, begin)
        elif log:
            done = erasing.erase(settings, user, cut=cut, begin=begin)
        else:
            done = erasing.forget(settings, user)
    say(done, as_json)
    raise typer.Exit(1 if check and done["topics"] else 0)


def audit(
    day: Annotated[
        int | None,
        typer.Option(help="take the partition of this day, counted since 1970; without it of today"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify the one partition of one table whose day it is, and heal it where its rows are not those of the log."""
    from models.surfaces import load
    from ops.audit import audit as check
    from ops.audit import today
    from ops.progress import bar
    from ops.verdict import text
    from streams.generations import of_live

    settings = of_live(Settings.from_env())
    wrong = 0
    with bar("auditing") as begin:
        for report in check(settings, load(settings.config).actions, today() if day is None else day, begin):
            print(json.dumps(report) if as_json else text(report), flush=True)
            wrong += report["verdict"] == "different" and "topic" in report  # rows are healed, or it raised
    raise typer.Exit(1 if wrong else 0)


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


@generations.command("list")
def generations_list(as_json: Json = False) -> None:
    """List the generations of the state: number, stage, how they are folded, records behind."""
    from ops.generations import listed

    for one in listed(Settings.from_env()):
        print(json.dumps(one) if as_json else "  ".join(f"{key}={value}" for key, value in one.items()))


@generations.command("switch")
def generations_switch(number: Annotated[int, typer.Argument(help="the generation to serve")]) -> None:
    """Make a generation live as soon as it is level with the one that is; the old one stands by."""
    from ops.generations import switch
    from ops.progress import status

    with status() as tell:
        switch(Settings.from_env(), number, tell)
    print(f"generation {number} is live")


@generations.command("drop")
def generations_drop(number: Annotated[int, typer.Argument(help="the generation to forget")]) -> None:
    """Delete a generation that is not live: its topics, groups and folders."""
    from ops.generations import drop
    from ops.progress import status

    with status() as tell:
        drop(Settings.from_env(), number, tell)
    print(f"generation {number} is dropped")


def rebuild(
    switch: Annotated[
        bool, typer.Option("--switch", help="make it live once it is level with the live one")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fold the log again into a new generation of the state, beside the live one, and compare the two."""
    from models.surfaces import load
    from ops.progress import bar, status
    from ops.rebuild import rebuild as run

    settings = Settings.from_env()
    with bar("rebuild") as begin, status() as tell:
        done = run(settings, load(settings.config).actions, switch=switch, begin=begin, tell=tell)
    print(json.dumps(done) if as_json else "  ".join(f"{key}={value}" for key, value in done.items()))


def replay(
    until: Annotated[
        str, typer.Option(help="fold what was written by then: ISO 8601, ms, `2h` ago, or `now`")
    ],
    into: Annotated[Path, typer.Option(help="a new or empty folder for the tables")],
    begin: Annotated[
        str, typer.Option("--from", help="as if nothing had been written before; else from the beginning")
    ] = "",
    users: Annotated[
        str, typer.Option(help="only these users' rows: ids joined by commas, or a file of them")
    ] = "",
    as_json: Json = False,
) -> None:
    """Fold the log up to a moment of the past into tables of its own."""
    from models.surfaces import load
    from ops import replay as past
    from ops.progress import bar
    from streams.times import parse

    settings, now = Settings.from_env(), time.time_ns() // 1_000_000
    end, start = parse(until, now), parse(begin, now) if begin else 0
    names = Path(users).read_text().split() if users and Path(users).is_file() else users.split(",")
    with past.ground(settings, load(settings.config).actions) as on, bar("replay") as progress:
        done = past.replay(on, end, into, begin=start, users=tuple(filter(None, names)), progress=progress)
    say(past.summary(done, into), as_json)


def snapshot(
    keep: Annotated[int, typer.Option(min=1, help="so many of the newest stay")] = 3,
    days: Annotated[int, typer.Option(min=0, help="and the last of each of so many days")] = 14,
    as_json: Json = False,
) -> None:
    """Fold on from the newest snapshot to now and keep the tables, for replay, what-if and `as_of` to start from."""
    from models.surfaces import load
    from ops import replay as past
    from ops.progress import bar

    settings, now = Settings.from_env(), time.time_ns() // 1_000_000
    with past.ground(settings, load(settings.config).actions) as on, bar("snapshot") as progress:
        done = past.snapshot(on, now, keep, days, progress)
    say(past.summary(done, on.snapshots / str(now)), as_json)


def what_if(
    config: Annotated[
        Path,
        typer.Option(
            help="the other configuration, as REFOLD_CONFIG would name it", exists=True, dir_okay=False
        ),
    ],
    begin: Annotated[str, typer.Option("--from", help="requests from then on: ISO 8601, ms, or `2h` ago")],
    until: Annotated[str, typer.Option(help="and up to then")] = "now",
    limit: Annotated[int, typer.Option(min=0, help="only the first so many; 0: all")] = 0,
    as_json: Json = False,
) -> None:
    """Answer past requests again under another configuration, and tell how the lists differ."""
    from models.surfaces import load
    from ops import what_if as asked
    from ops.progress import bar
    from ops.replay import ground
    from streams.times import parse

    settings, now = Settings.from_env(), time.time_ns() // 1_000_000
    current = load(settings.config)
    other = asked.other_config(config, current)
    span = parse(begin, now), parse(until, now)
    with ground(settings, current.actions) as on, bar("what if") as progress:
        report = asked.what_if(on, current, other, *span, limit, progress)
    print(json.dumps(report) if as_json else "\n".join(asked.text(report)))


def say(done: Mapping[str, Any], as_json: bool) -> None:
    """Print what a command did."""
    print(json.dumps(done) if as_json else "  ".join(f"{key}={value}" for key, value in done.items()))
