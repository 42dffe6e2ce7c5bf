"""The command on quality: `refold evaluate`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ops.say import Json
from streams.errors import Refused
from streams.settings import Settings


class Protocol(StrEnum):
    """In what order events are predicted and learned."""

    PREQUENTIAL = "prequential"
    LEAVE_LAST_OUT = "leave-last-out"


def register(app: typer.Typer) -> None:
    """Add the command to `refold`."""
    app.command()(evaluate)


def evaluate(
    file: Annotated[
        Path, typer.Argument(help="a CSV or Parquet file of events", exists=True, dir_okay=False)
    ],
    user: Annotated[str, typer.Option(help="column of the user id; by default found by its name")] = "",
    item: Annotated[str, typer.Option(help="column of the item id; by default found by its name")] = "",
    at: Annotated[str, typer.Option(help="column of the time; by default found by its name")] = "",
    kind: Annotated[
        str,
        typer.Option(
            "--type", help="column of the event type, or the type of all; rows not positive teach too"
        ),
    ] = "",
    value: Annotated[str, typer.Option(help="column of the value, such as a rating")] = "",
    category: Annotated[str, typer.Option(help="column of the item's categories: a list, or a|b")] = "",
    positive: Annotated[str, typer.Option(help="which rows are predicted, such as rating>=4")] = "",
    protocol: Annotated[
        Protocol, typer.Option(help="test-then-learn, or each user's last item")
    ] = Protocol.PREQUENTIAL,
    k: Annotated[str, typer.Option(help="lengths of lists, separated by commas")] = "10,20",
    online: Annotated[
        bool, typer.Option("--online", help="rank by what is learned on the way: the default")
    ] = False,
    model: Annotated[
        str, typer.Option(help="also rank by a model of the registry: a name, or name@version")
    ] = "",
    retrieval: Annotated[
        bool,
        typer.Option(
            "--retrieval/--exact", help="also ask the serving engine, with its index; or rank all alone"
        ),
    ] = False,
    every: Annotated[int, typer.Option(min=1, help="predict each n-th discovery only; all are learned")] = 1,
    plot: Annotated[Path | None, typer.Option(help="draw quality over time: an .svg or .html file")] = None,
    as_json: Json = False,
) -> None:
    """Stream a file of events through what serves, test-then-learn, and say how good the lists were."""
    import json

    from models.surfaces import load
    from ops.evaluate.registered import loaded
    from ops.evaluate.report import show
    from ops.evaluate.run import evaluate as run
    from ops.evaluate.source import Columns
    from ops.progress import bar
    from streams.models import load as load_registry

    ks = _lengths(k)
    settings = Settings.from_env()
    if model and online:
        raise Refused(f"--online and --model {model}: choose one of them")
    with bar(f"evaluating {file.name}") as begin:
        said = run(
            file,
            Columns(user, item, at, kind, value, category, positive),
            protocol=protocol,
            ks=ks,
            every=every,
            retrieval=retrieval,
            model=loaded(settings, load_registry(settings), model) if model else None,
            plot=plot,
            weights=load(settings.config).actions,
            dimensions=settings.dimensions,
            shards=settings.shards,
            begin=begin,
        )
    if as_json:
        print(json.dumps(said))
    else:
        show(said, ks)


def _lengths(said: str) -> list[int]:
    parts = [part.strip() for part in said.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 1000 for part in parts):
        raise Refused(f"--k {said!r}: give numbers from 1 to 1000, separated by commas")
    return sorted({int(part) for part in parts})
