"""The commands on the log and its past; each reads its settings from the environment and calls one function."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from ops.say import Json, say
from streams.errors import SettingsError
from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands to `refold`."""
    app.command()(export)
    app.command("import")(restore)
    app.command()(erase)
    app.command()(replay)
    app.command()(snapshot)
    app.command()(what_if)


def export(
    into: Annotated[Path, typer.Option(help="an empty folder, or that of an export to go on with")],
    since: Annotated[str, typer.Option("--from", help="only what was said from this time on")] = "",
    until: Annotated[str, typer.Option(help="only what was said up to this time")] = "",
    as_json: Json = False,
) -> None:
    """Write the log as Parquet files by topic and day, with a manifest."""
    from ops.log import export as exports
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
    from ops.log import imports
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
    from ops.log import erase as erasing
    from ops.log.look import look
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
    from ops.past import replay as past
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
    from ops.past import replay as past
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
    from ops.past import what_if as asked
    from ops.past.replay import ground
    from ops.progress import bar
    from streams import experiments
    from streams.times import parse

    settings, now = Settings.from_env(), time.time_ns() // 1_000_000
    current = load(settings.config)
    other = asked.other_config(config, current)
    span = parse(begin, now), parse(until, now)
    with ground(settings, current.actions) as on, bar("what if") as progress:
        report = asked.what_if(on, current, other, *span, limit, progress, experiments.load(settings))
    print(json.dumps(report) if as_json else "\n".join(asked.text(report)))
