"""The commands on models; each reads its settings from the environment and calls one function."""

import json
import time
from typing import Annotated, Any, Literal

import typer

from ops.say import Json, say
from streams.settings import Settings

models = typer.Typer(no_args_is_help=True, help="The registry of trained models.")
Key = Annotated[str, typer.Argument(help="name@version; a beginning of the version will do")]


def register(app: typer.Typer) -> None:
    """Add the commands to `refold`."""
    app.add_typer(models, name="models")


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


def _now() -> int:
    return time.time_ns() // 1_000_000
