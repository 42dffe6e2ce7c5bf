"""The command that makes lists in bulk; it reads its settings from the environment and calls one function."""

from pathlib import Path
from typing import Annotated

import typer

from ops.say import Json, say
from streams.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to `refold`."""
    app.command()(recommend)


def recommend(
    out: Annotated[Path, typer.Option(help="the Parquet file of lists to write")],
    users: Annotated[
        Path | None,
        typer.Option(
            help="a file of user ids: one on each line, or a CSV or Parquet file; without it all that are known",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    user: Annotated[str, typer.Option(help="of a CSV or Parquet file: column of the user id")] = "",
    surface: Annotated[str, typer.Option(help="the surface the lists are for")] = "email",
    n: Annotated[int, typer.Option(min=1, max=200, help="length of a list")] = 20,
    log_slates: Annotated[
        bool, typer.Option("--log-slates", help="log the lists as served, so that clicks join them")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option(help="keep the state here, so that the next time reads only the rest")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a list for each of many users, for e-mails and notifications."""
    from models.surfaces import load
    from ops.progress import bar, status
    from ops.recommend.recommend import recommend as run
    from ops.recommend.whom import named

    settings = Settings.from_env()
    config = load(settings.config)
    chosen = named(users, user) if users else []
    with status() as tell, bar("ranking", "lists") as begin:
        done = run(
            settings, config, out, surface=surface, n=n, users=chosen, log_slates=log_slates, folder=folder,
            begin=begin, tell=tell,
        )  # fmt: skip
    say(done, as_json)
