"""`refold bench`: one command a measurement."""

from typing import Annotated, Any

import typer

from bench.report import show
from streams.settings import Settings

bench = typer.Typer(no_args_is_help=True, help="What the performance pages quote; run them on real Kafka.")
Json = Annotated[bool, typer.Option("--json", help="one JSON object on the last line")]


@bench.command()
def ingest(
    singles: Annotated[int, typer.Option(help="single-event records")] = 300_000,
    batched: Annotated[int, typer.Option(help="events in 64-event records")] = 2_000_000,
    as_json: Json = False,
) -> None:
    """How fast one worker folds, beside a Faust agent that only counts."""
    from bench.ingest import run

    _end(run(Settings.from_env(), singles, batched), as_json)


@bench.command()
def freshness(
    rate: Annotated[int, typer.Option(help="events a second")] = 500,
    seconds: Annotated[int, typer.Option(help="how long")] = 30,
    as_json: Json = False,
) -> None:
    """From an event to a changed list."""
    from bench.freshness import run

    _end(run(Settings.from_env(), rate, seconds), as_json)


@bench.command()
def outcome(
    clicks: Annotated[int, typer.Option(help="how many")] = 200,
    as_json: Json = False,
) -> None:
    """From a click to a changed report of an experiment."""
    from bench.outcome import run

    _end(run(Settings.from_env(), clicks), as_json)


@bench.command()
def serve(
    items: Annotated[int, typer.Option(help="items in the catalogue")] = 1_000_000,
    as_json: Json = False,
) -> None:
    """The whole request over HTTP, and where its time goes."""
    from bench.serve import run

    _end(run(items=items), as_json)


@bench.command()
def score(
    items: Annotated[int, typer.Option(help="items in the catalogue")] = 20_000,
    as_json: Json = False,
) -> None:
    """A thousand candidates: their features gathered, and scored by either tier."""
    from bench.score import run

    _end(run(items), as_json)


@bench.command()
def learn(
    items: Annotated[int, typer.Option(help="items that a catalogue of 10,000 is compared with")] = 1_000_000,
    as_json: Json = False,
) -> None:
    """What folding and learning cost on one core, with few items and with many, and memory."""
    from bench.learn import run

    _end(run(items), as_json)


@bench.command()
def ahead(
    items: Annotated[int, typer.Option(help="items in the catalogue")] = 20_000,
    minutes: Annotated[int, typer.Option(help="simulated minutes, with and without")] = 5,
    share: Annotated[float, typer.Option(help="of the users, the most active")] = 0.1,
    as_json: Json = False,
) -> None:
    """Lists computed on their users' events: what they spare requests, and what they cost."""
    from bench.ahead import run

    _end(run(items, minutes, share), as_json)


@bench.command()
def index(
    items: Annotated[int, typer.Option(help="vectors")] = 100_000,
    seconds: Annotated[int, typer.Option(help="how long")] = 60,
    as_json: Json = False,
) -> None:
    """Recall and search time while vectors change."""
    from bench.index import run

    _end(run(items=items, seconds=seconds), as_json)


@bench.command()
def rebuild(
    events: Annotated[int, typer.Option(help="events in 64-event records")] = 2_000_000,
    singles: Annotated[int, typer.Option(help="events in records of their own")] = 600_000,
    as_json: Json = False,
) -> None:
    """How fast the log is folded again, beside how fast a worker folded it."""
    from bench.rebuild import run

    _end(run(Settings.from_env(), events, singles), as_json)


@bench.command()
def recovery(
    users: Annotated[int, typer.Option(help="rows in the table")] = 1_000_000,
    as_json: Json = False,
) -> None:
    """From killing a worker to folding again: same disk, no disk, and a standby beside it."""
    from bench.recovery import run

    _end(run(Settings.from_env(), users), as_json)


@bench.command()
def assign(
    users: Annotated[int, typer.Option(help="who are assigned, one after the other")] = 20_000,
    as_json: Json = False,
) -> None:
    """What assigning a user costs, with one experiment and with ten."""
    from bench.assign import run

    _end(run(users), as_json)


@bench.command()
def experiments(
    items: Annotated[int, typer.Option(help="items in the catalogue")] = 20_000,
    times: Annotated[int, typer.Option(help="requests of each kind")] = 2_000,
    as_json: Json = False,
) -> None:
    """What ten experiments at once cost a request, and what writing its slate down does."""
    from bench.experiments import run

    _end(run(items, times), as_json)


def _end(result: dict[str, Any], as_json: bool) -> None:
    show(result, as_json)
    raise typer.Exit(0 if result["met"] else 1)
