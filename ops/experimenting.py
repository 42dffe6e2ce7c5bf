"""The commands on experiments; each reads its settings from the environment and calls one function."""

import json
import sys
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


@experiment.command("report")
def report(
    key: Key,
    lists: Annotated[
        bool, typer.Option("--lists", help="what each arm showed, from the log of slates")
    ] = False,
    as_json: Json = False,
) -> None:
    """Judge an experiment by what is known now; looking often does no harm to the verdict."""
    from ops.experiment.report import reported
    from ops.experiment.report import show as told
    from streams.experiments import load
    from streams.generations import of_live
    from streams.log import Log

    settings = of_live(Settings.from_env())
    record = load(settings).find(key)
    with Log(settings) as log:
        said = reported(log, settings.partitions, record, _now(), lists=lists)
    print(json.dumps(said)) if as_json else told(said)


@experiment.command("duration")
def duration(
    lift: Annotated[float, typer.Option(help="to be found, relative: 0.05")],
    users_per_day: Annotated[float, typer.Option(help="new ones who will take part")],
    metric: Annotated[
        str,
        typer.Option(help="a measure, or two of which one divides: click/lists; as experiments measured it"),
    ] = "",
    mean: Annotated[
        float | None, typer.Option(help="of the metric now, instead of what was measured")
    ] = None,
    variance: Annotated[float | None, typer.Option(help="of one user's share in it; with --mean")] = None,
    arms: Annotated[int, typer.Option(min=2, help="of equal weight, the control among them")] = 2,
    power: Annotated[float, typer.Option(help="the chance that the lift is found")] = 0.8,
    as_json: Json = False,
) -> None:
    """Tell how many users and days an experiment needs, before it is started."""
    from models.finals import standing
    from ops.experiment import duration as plan
    from ops.experiment.report import outcomes
    from streams.experiments import load
    from streams.generations import of_live
    from streams.log import Log

    if (mean is None) != (variance is None) or (mean is None) == (not metric):
        raise typer.BadParameter("give --metric, or --mean and --variance")
    beside = {}
    if mean is None or variance is None:
        settings = of_live(Settings.from_env())
        known = load(settings).records
        with Log(settings) as log:
            found = {
                key: standing(known[key], sheets) if key in known else sheets
                for key, sheets in outcomes(log, settings.partitions).items()
            }
        beside["experiment"], sheet = plan.pilot(found, plan.metric(metric))
        mean, variance = plan.planned(sheet, plan.metric(metric))
    say(plan.duration(mean, variance, lift, users_per_day, arms, power) | beside, as_json)


@experiment.command("selfcheck")
def selfcheck(
    seed: Annotated[int, typer.Option(help="of what is drawn")] = 1,
    as_json: Json = False,
) -> None:
    """Check the statistics on experiments whose truth is known; exit code 1 when a figure is out of its bounds."""
    from ops.experiment.selfcheck import selfcheck as run
    from ops.experiment.selfcheck import wrong
    from ops.progress import bar

    with bar("drawing") as begin:
        figures = run(seed=seed, progress=begin)
    found = wrong(figures)
    if as_json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name}={value:.4g}" for name, value in figures.items()))
    for words in found:
        print(words, file=sys.stderr)
    raise typer.Exit(bool(found))


def _end(key: str, state: "Ended", reason: str, as_json: bool) -> None:
    from models.definitions import ended
    from ops.experiment.define import told
    from ops.experiment.report import outcomes
    from streams.errors import Refused
    from streams.experiments import load, publish
    from streams.generations import of_live
    from streams.log import Log

    settings = Settings.from_env()
    load(settings).find(key)
    live = of_live(settings)
    with Log(live) as log:  # before the word: what it came to until now is part of it
        sheets = outcomes(log, live.partitions).get(key, {})
    for left in reversed(range(5)):  # whoever else is changing it
        known = load(settings)
        word = ended(known, key, state, _now(), reason, BY, sheets)
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
