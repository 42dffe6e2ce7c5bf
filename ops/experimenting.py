"""The commands on experiments; each reads its settings from the environment and calls one function."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ops.say import Json, say
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.experiments import Ended, Holdout, Record

experiment = typer.Typer(
    no_args_is_help=True, help="Experiments: what is tried on whom, and what came of it."
)
Key = Annotated[str, typer.Argument(help="the key of the experiment")]
Reason = Annotated[str, typer.Option(help="why, recorded")]
BY = "refold"


def register(app: typer.Typer) -> None:
    """Add the commands to `refold`."""
    app.add_typer(experiment, name="experiment")


@experiment.command("create")
def create(
    file: Annotated[Path, typer.Argument(help="the definition, TOML or JSON", exists=True, dir_okay=False)],
    as_json: Json = False,
) -> None:
    """Define an experiment, or a new version of one that does not run. It is a draft until it is started."""
    from models.definitions import defined
    from models.surfaces import load
    from ops.experiment.define import read
    from streams import experiments, models

    settings = Settings.from_env()
    known, config = experiments.load(settings), load(settings.config)
    _publish(settings, defined(known, read(file), config, models.load(settings).served, _now(), BY), as_json)


@experiment.command("list")
def every(as_json: Json = False) -> None:
    """List every experiment."""
    from ops.experiment.define import listed
    from streams.experiments import load

    for line in listed(load(Settings.from_env()), _now()):
        say(line, as_json)


@experiment.command("show")
def show(key: Key, as_json: Json = False) -> None:
    """Show an experiment: every version of its definition, and what was decided when, why and by whom."""
    import msgspec

    from streams.experiments import load
    from streams.times import written

    record = load(Settings.from_env()).find(key)
    said = msgspec.to_builtins(record)
    if as_json:
        print(json.dumps(said))
        return
    say({"key": key, "state": record.state, "revision": record.revision}, as_json=False)
    for version in said["versions"]:
        print(json.dumps(version, indent=2))
    for one in record.decided:
        print(f"{written(one.at)}  {one.state}  {one.by}  {one.reason}")


@experiment.command("start")
def start(key: Key, as_json: Json = False) -> None:
    """Let units take part from now on."""
    from models.definitions import started
    from models.surfaces import load
    from streams import experiments, models

    settings = Settings.from_env()
    known, config = experiments.load(settings), load(settings.config)
    _publish(settings, started(known, key, config, models.load(settings).served, _now(), BY), as_json)


@experiment.command("ramp")
def ramp(
    key: Key,
    steps: Annotated[
        list[str], typer.Argument(help="shares: 0.1 is now; 0.5@2026-12-01 and 1@+2d from then on")
    ],
    as_json: Json = False,
) -> None:
    """Change which share takes part, now and later; nobody who takes part changes arms."""
    from models.definitions import ramped
    from ops.experiment.define import step
    from streams.experiments import load

    settings, now = Settings.from_env(), _now()
    said = tuple(step(text, now) for text in steps)
    _publish(settings, ramped(load(settings), key, said, now, BY), as_json)


@experiment.command("stop")
def stop(key: Key, reason: Reason = "", as_json: Json = False) -> None:
    """Stop an experiment; it can be started again."""
    _end(key, "stopped", reason, as_json)


@experiment.command("kill")
def kill(key: Key, reason: Reason = "", as_json: Json = False) -> None:
    """Stop an experiment for good: only a new version of it can be started."""
    _end(key, "killed", reason, as_json)


@experiment.command("holdout")
def holdout(
    share: Annotated[float, typer.Argument(help="of all users, 0..1")],
    seed: Annotated[str, typer.Option(help="another one draws other users")] = "",
    as_json: Json = False,
) -> None:
    """Keep a part of the users out of every experiment, and out of all that is explored."""
    from models.definitions import held
    from streams.experiments import load

    settings = Settings.from_env()
    _publish(settings, held(load(settings), share, seed, _now(), BY), as_json)


@experiment.command("who")
def who(
    user: Annotated[str, typer.Argument(help="the user id, or session:ID")],
    surface: Annotated[str, typer.Option(help="where the list is shown")] = "home",
    context: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the request, such as country=de; may be repeated")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show which arms a user has, and why."""
    from models.surfaces import load
    from ops.experiment.define import user_of
    from ops.experiment.define import who as found
    from streams import experiments
    from streams.generations import of_live
    from streams.log import Log

    settings = of_live(Settings.from_env())
    said = dict(pair.partition("=")[::2] for pair in context or ())
    with Log(settings) as log:
        row = user_of(log, settings, user)
    known, config = experiments.load(settings), load(settings.config)
    for line in found(known, config, user, row, _now(), surface, said):
        say(line, as_json)


def _end(key: str, state: "Ended", reason: str, as_json: bool) -> None:
    from models.definitions import ended
    from ops.experiment.define import told
    from streams.errors import Refused
    from streams.experiments import load, publish

    settings = Settings.from_env()
    for left in reversed(range(5)):  # whoever else is changing it
        known = load(settings)
        word = ended(known, key, state, _now(), reason, BY)
        try:
            if word is not None:
                publish(settings, word)
            break
        except Refused:
            if not left:
                raise
    say(told(word or known.find(key)), as_json)


def _publish(settings: Settings, word: "Record | Holdout", as_json: bool) -> None:
    from ops.experiment.define import told
    from streams.experiments import publish

    publish(settings, word)
    say(told(word), as_json)


def _now() -> int:
    return time.time_ns() // 1_000_000
