"""The commands on models; each reads its settings from the environment and calls one function."""

import contextlib
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ops.say import Json, say
from streams.errors import Refused
from streams.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.train.history import History
    from ops.train.spark import Heard, Session
    from ops.train.trails import Learn

models = typer.Typer(no_args_is_help=True, help="The registry of trained models.")
Key = Annotated[str, typer.Argument(help="name@version; a beginning of the version will do")]


def register(app: typer.Typer) -> None:
    """Add the commands to `refold`."""
    app.command()(train)
    app.add_typer(models, name="models")


def train(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="a CSV or Parquet file of events; without it the log", exists=True, dir_okay=False
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="the folder of an export of the log", exists=True, file_okay=False)
    ] = None,
    until: Annotated[str, typer.Option(help="only what was said up to this time; not for a file")] = "",
    user: Annotated[str, typer.Option(help="of a file: column of the user id")] = "",
    item: Annotated[str, typer.Option(help="of a file: column of the item id")] = "",
    at: Annotated[str, typer.Option(help="of a file: column of the time")] = "",
    kind: Annotated[
        str, typer.Option("--type", help="of a file: column of the event type, or the type of all")
    ] = "",
    category: Annotated[
        str, typer.Option(help="of a file: column of the item's categories: a list, or a|b")
    ] = "",
    positive: Annotated[str, typer.Option(help="of a file: which rows count, such as rating>=4")] = "",
    sort: Annotated[
        Literal["boosted", "sequence", "vectors"],
        typer.Option(
            "--kind", help="a ranker of boosted trees, a model of the order of choices, or item vectors"
        ),
    ] = "boosted",
    engine: Annotated[
        Literal["local", "spark"],
        typer.Option(help="of a file or an export, not of a sequence model: what reads and folds it"),
    ] = "local",
    leave_last_out: Annotated[
        bool,
        typer.Option(
            "--leave-last-out",
            help="of a sequence model and a file: learn all but each user's last choice, measure on it",
        ),
    ] = False,
    surface: Annotated[str, typer.Option(help="the surface whose candidates are ranked")] = "home",
    trials: Annotated[int, typer.Option(min=1, max=100, help="settings tried on the validation span")] = 12,
    seed: Annotated[int, typer.Option(help="of what is drawn by lot")] = 1,
    as_json: Json = False,
) -> None:
    """Train a model on the log, an export or a file, compare it with what serves, and publish it as a candidate.

    What was trained on a file is measured and told, but not published.
    """
    from models.blended import Blended
    from models.boosted import Boosted
    from models.surfaces import load
    from ops.progress import bar
    from ops.train import history, spark
    from ops.train.stages import Staged
    from ops.train.train import NAME, publish, serving, surface_of, told
    from ops.train.train import train as run
    from streams import models as registries
    from streams.times import parse

    if leave_last_out and (sort != "sequence" or file is None):
        raise Refused("--leave-last-out measures a sequence model on a file: give FILE and --kind sequence")
    if engine == "spark" and (sort == "sequence" or (file is None and export is None)):
        raise Refused(
            "--engine spark trains a boosted ranker or item vectors on a file or an export: give FILE or --export, "
            "which `refold export` makes of the log, and another --kind than sequence"
        )
    settings = Settings.from_env()
    config = load(settings.config)
    now = _now()
    upto = parse(until, now) if until else None
    registry = registries.Registry() if file else registries.load(settings)
    with contextlib.ExitStack() as stack:
        if file is not None:
            from ops.evaluate.source import Columns, opened

            source = stack.enter_context(opened(file, Columns(user, item, at, kind, "", category, positive)))
            found = history.of_file(source, file.name, config.actions)
            read = partial(spark.of_file, ordered=source.path, weights=config.actions)
        elif export is not None:
            found = history.of_export(export, config.actions, upto)
            read = partial(spark.of_export, folder=export, weights=config.actions, until=upto)
        else:
            found = history.of_log(settings, config.actions, upto)
        if leave_last_out:
            from ops.train.sequence import Plan
            from ops.train.trails import train_last_out

            say(train_last_out(found, Plan(seed=seed), _say_so), as_json)
            return
        heard = _heard(read, stack) if engine == "spark" else None
        past = found if heard is None else Staged(heard, found.span, found.data, config.actions)
        begin = stack.enter_context(bar("training"))
        if sort != "boosted":
            from ops.train.trails import train_trails

            learn = _learn(sort, found, heard, seed)
            model, artifact = train_trails(
                past, settings, config.actions, surface_of(config, surface), learn=learn, seed=seed,
                live=serving(settings, registry, sort, Blended.of), at=now, begin=begin,
            )  # fmt: skip
            done = told(registry, model, published=file is None)
        else:
            trained = run(
                past, settings, config.actions, surface_of(config, surface), trials=trials, seed=seed,
                live=serving(settings, registry, NAME, Boosted.of), at=now, begin=begin,
            )  # fmt: skip
            model, artifact = trained.model, trained.artifact
            done = told(registry, model, published=file is None) | {"trials": trained.fitted.trials}
    if file is None:
        publish(settings, model, artifact)
    print(json.dumps(done) if as_json else done["card"])


def _heard(read: "Callable[[Session], Heard]", stack: contextlib.ExitStack) -> "Heard":
    """Return what Spark reads, in a session that ends with the stack."""
    from ops.train import spark

    session = spark.opened()
    stack.callback(session.stop)
    return read(session)


def _learn(sort: Literal["sequence", "vectors"], found: "History", heard: "Heard", seed: int) -> "Learn":
    """Return what learns from a history, or item vectors from what Spark has `heard`, None for without Spark."""
    from ops.train import sequence, spark, trails, vectors

    if sort == "sequence":
        return trails.learn_sequence(found, sequence.Plan(seed=seed), _say_so)
    plan = vectors.Plan(seed=seed)
    if heard is None:
        return trails.learn_vectors(found, plan, _say_so)
    return spark.learn_vectors(heard, plan, _say_so)


@models.command("list")
def models_list(as_json: Json = False) -> None:
    """List every version: kind, stage, and what it was measured at."""
    from ops.registry.registry import listed
    from streams.models import load

    for one in listed(load(Settings.from_env())):
        say(one, as_json)


@models.command("show")
def models_show(key: Key, as_json: Json = False) -> None:
    """Show the model card of a version, its stage, and which gates hold it back."""
    from ops.registry.registry import shown
    from streams.models import load

    found = shown(load(Settings.from_env()), key)
    if as_json:
        print(json.dumps(found))
        return
    print(found.pop("card"))
    held = found["held_by"]
    print(
        f"Stage: {found['stage']}. "
        + (f"Held back by: {'; '.join(held)}" if held else "It passes every gate.")
    )


@models.command("promote")
def models_promote(
    key: Key,
    to: Annotated[Literal["shadow", "live", "retired"], typer.Option(help="the stage it enters")] = "live",
    force: Annotated[
        str, typer.Option(help="a reason, recorded, to pass over the gates that hold it back")
    ] = "",
    as_json: Json = False,
) -> None:
    """Move a version to a stage; the live one of its name gives place to it. Gates must be passed to become live."""
    from ops.registry.registry import promote
    from streams.models import decide, load

    settings = Settings.from_env()
    stages, done = promote(settings, load(settings), key, to, _now(), force)
    decide(settings, stages)
    say(done, as_json)


@models.command("rollback")
def models_rollback(
    name: Annotated[str, typer.Argument(help="the name of the model")] = "ranker",
    reason: Annotated[str, typer.Option(help="why, recorded")] = "",
    as_json: Json = False,
) -> None:
    """Retire the live version of a name; the one that was live before serves again, or none."""
    from ops.registry.registry import rollback
    from streams.models import decide, load

    settings = Settings.from_env()
    stages, done = rollback(settings, load(settings), name, _now(), reason)
    decide(settings, stages)
    say(done, as_json)


@models.command("diff")
def models_diff(
    first: Key,
    second: Key,
    as_json: Json = False,
) -> None:
    """Compare two versions: features, metrics, slices, spans."""
    from ops.registry.registry import differing
    from streams.models import load

    found = differing(load(Settings.from_env()), first, second)
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        _tell(name, value)


def _tell(name: str, value: Any) -> None:
    if isinstance(value, dict):
        for part, inner in value.items():
            _tell(f"{name} {part}", inner)
    else:
        print(f"{name}: {', '.join(map(str, value)) or '-'}")


def _say_so(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _now() -> int:
    return time.time_ns() // 1_000_000
