"""The `refold` command. Every subcommand reads its settings from the environment and calls one function."""

import json
import os
import sys
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops import (
    evaluations,
    experimenting,
    features,
    judging,
    learning,
    logs,
    recommending,
    simulating,
    states,
)
from ops.benches import bench
from ops.say import Json, say
from streams.errors import RefoldError
from streams.settings import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Refold: recommendations as a fold of a log."
)
topics = typer.Typer(no_args_is_help=True, help="The topics of the topology.")
kafka = typer.Typer(no_args_is_help=True, help="A real single-node Apache Kafka for development.")
letters = typer.Typer(no_args_is_help=True, help="What was refused, and sending it again.")
keys = typer.Typer(no_args_is_help=True, help="API keys.")
for name, group in (
    ("topics", topics),
    ("kafka", kafka),
    ("dead-letters", letters),
    ("keys", keys),
    ("bench", bench),
):
    app.add_typer(group, name=name)

states.register(app)
logs.register(app)
learning.register(app)
evaluations.register(app)
experimenting.register(app)
judging.register(app)
simulating.register(app)
features.register(app)
recommending.register(app)

console = Console(stderr=True)


@app.command("settings")
def show_settings() -> None:
    """List every setting with its value and meaning."""
    settings = Settings.from_env()
    table = Table("variable", "value", "meaning")
    for field in fields(settings):
        value = getattr(settings, field.name) if field.repr else "(hidden)"
        table.add_row(f"REFOLD_{field.name.upper()}", str(value), field.metadata["help"])
    Console().print(table)


class Stage(StrEnum):
    """What a worker folds; `all` starts a process for each."""

    USERS = "users"
    ITEMS = "items"
    LEARNER = "learner"
    ALL = "all"


@app.command()
def worker(
    stage: Annotated[Stage, typer.Option(help="fold only this; `all` in a process each")] = Stage.ALL,
    loglevel: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR")] = "INFO",
) -> None:
    """Run a worker: the agents that fold the log into tables."""
    from ops.run.supervise import worker as run
    from streams.topology import STAGES

    chosen = [name for name in STAGES if stage in (Stage.ALL, name)]
    raise typer.Exit(run(Settings.from_env(), chosen, loglevel))


@app.command()
def api() -> None:
    """Run an API process: a replica of the tables, the index and the HTTP interface."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more threads stall requests; read when numpy loads
    from api.server import serve
    from ops.past.travel import Traveller

    settings = Settings.from_env()
    serve(settings, Traveller(settings))


@app.command()
def up() -> None:
    """Run one worker and one API process here, starting again what ends."""
    from ops.run.supervise import supervise

    supervise(Settings.from_env())


@app.command()
def demo(
    events: Annotated[int, typer.Option(help="purchase lines to stream, in time order")] = 60_000,
    leave: Annotated[
        bool, typer.Option("--exit", help="stop after the checks instead of staying up")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stream real groceries through everything on the embedded broker, check it, and stay up to be tried."""
    from ops.run.demo import run

    raise typer.Exit(run(events, stay=not leave, as_json=as_json))


@app.command()
def load(
    file: Annotated[
        Path, typer.Argument(help="a CSV or Parquet file of events", exists=True, dir_okay=False)
    ],
    user: Annotated[str, typer.Option(help="column of the user id")],
    item: Annotated[str, typer.Option(help="column of the item id")],
    at: Annotated[str, typer.Option(help="column of the time: a datetime, seconds or ms since 1970")],
    kind: Annotated[
        str, typer.Option("--type", help="column of the event type, or the type of all")
    ] = "click",
    value: Annotated[str, typer.Option(help="column of the value, such as a rating")] = "",
    category: Annotated[str, typer.Option(help="column of the item's category")] = "",
    shift: Annotated[bool, typer.Option(help="move all times so that the last event happens now")] = False,
    as_json: Json = False,
) -> None:
    """Write a file of events to the log in time order, once: only a user's last 64 event ids are remembered."""
    from ops.log.load import load_file

    done = load_file(
        Settings.from_env(),
        file,
        user=user,
        item=item,
        at=at,
        kind=kind,
        value=value,
        category=category,
        shift=shift,
    )
    say(done, as_json)


@app.command()
def lag(as_json: Json = False) -> None:
    """Show how many records each topic's stage has not folded yet, in the live generation."""
    from ops.broker.lag import lag as behind
    from streams.generations import of_live

    say(behind(of_live(Settings.from_env())), as_json)


@topics.command("create")
def topics_create(
    alter: Annotated[bool, typer.Option(help="also set the configuration of existing topics")] = False,
) -> None:
    """Create the topics that are missing."""
    from ops.broker.topics import check, create
    from ops.state.generations import every

    for settings in every(Settings.from_env()):
        for name in create(settings, alter=alter):
            print(f"created {name}")
        for untold in check(settings):
            console.print(untold)


@topics.command("check")
def topics_check() -> None:
    """Compare the broker's topics with the topology."""
    from ops.broker.topics import check
    from ops.state.generations import every

    for settings in every(Settings.from_env()):
        for untold in check(settings):
            console.print(untold)
    print("the topics are as declared")


@kafka.command("up")
def kafka_up(port: Annotated[int, typer.Option(help="port of 127.0.0.1")] = 9092) -> None:
    """Start Apache Kafka in the background (Java 17 and Maven; the jars are fetched once)."""
    from ops.broker.kafka import up as start

    print(f"Kafka runs at {start(port=port).bootstrap}; `refold kafka down` stops it")


@kafka.command("down")
def kafka_down() -> None:
    """Stop it; its data stays."""
    from ops.broker.kafka import down

    print("stopped" if down() else "none was running")


@kafka.command("status")
def kafka_status() -> None:
    """Tell whether it runs."""
    from ops.broker.kafka import status

    broker = status()
    print(f"Kafka runs at {broker.bootstrap} (pid {broker.pid})" if broker else "none is running")


@letters.command("list")
def letters_list(as_json: Json = False) -> None:
    """List the refused records, each once, with the reason."""
    from ops.log.dead_letters import listed

    for letter in listed(Settings.from_env()):
        where = f"{letter.topic}[{letter.partition}]@{letter.offset}"
        size = len(letter.value or b"")
        said = {"where": where, "reason": letter.reason, "at": letter.at, "bytes": size}
        print(json.dumps(said) if as_json else f"{where}  {size} bytes  {letter.reason}")


@letters.command("resend")
def letters_resend(as_json: Json = False) -> None:
    """Send what is good in refused event batches again, and items and profiles that pass by now."""
    from ops.log.dead_letters import resend

    say(resend(Settings.from_env()), as_json)


@keys.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="a name for the key, shown in logs")],
    scope: Annotated[str, typer.Option(help="read, write or admin, or several joined by +")] = "read",
) -> None:
    """Make an API key: the secret for the client, and the entry for REFOLD_API_KEYS, which holds only its hash."""
    from api.keys import mint

    secret, entry = mint(name, scope)
    print(f"secret, shown once:      {secret}\nadd to REFOLD_API_KEYS:  {entry}")


def main() -> None:
    """Run the command; an error that Refold raised on purpose is one line and exit code 1."""
    try:
        app()
    except RefoldError as error:
        console.print(f"[red]refold:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
