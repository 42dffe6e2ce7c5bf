"""Definitions: what becomes of an experiment, and which definition cannot be run and why.

Each function takes what is known and returns the next word of the topic, or raises Refused with the reason.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from models.finals import final
from models.outcomes import Arm, Sheet
from models.surfaces import Config, check_actions, surface_with
from models.trials import measure
from streams.errors import Refused, SettingsError
from streams.experiments import (
    BOTH,
    HOLDOUT,
    KEPT,
    Decision,
    Definition,
    Ended,
    Holdout,
    Known,
    Record,
    State,
    Step,
)
from streams.exposures import MEASURES, MOST

LONGEST = 140  # characters of a measure
LARGEST = 16_000  # bytes of a definition: with all its versions an experiment must fit a record
REASON = 1024  # characters
BOOST = 1000.0


def defined(
    known: Known, said: Definition, config: Config, models: Collection[str], at: int, by: str
) -> Record:
    """Return an experiment with a new definition as its newest version, a draft; one that never ran is replaced.

    `models` are the names (and name@version) that can serve.
    """
    record = known.records.get(said.key)
    if record is not None and record.state == "running":
        raise Refused(
            f"experiment {said.key!r} runs: only its ramp can be changed, and it can be stopped; another "
            "definition is a new version, for which it must be stopped first"
        )
    check(said, config, models)
    check_beside(said, known)
    if record is None:
        return Record(key=said.key, versions=(msgspec.structs.replace(said, version=1, at=at),),
                      decided=(Decision("draft", at, by=by),))  # fmt: skip
    ran = any(one.state == "running" and one.at >= record.current.at for one in record.decided)
    version = record.current.version + ran
    kept = record.versions if ran else record.versions[:-1]
    newest = msgspec.structs.replace(said, version=version, at=at)
    return _next(record, "draft", at, by, versions=(*kept, newest)[-KEPT:], final=None)


def started(known: Known, key: str, config: Config, models: Collection[str], at: int, by: str) -> Record:
    """Return a draft, or what was stopped, running."""
    record = known.find(key)
    if record.state == "running":
        raise Refused(f"experiment {key!r} runs already")
    if record.state == "killed":
        raise Refused(f"experiment {key!r} was killed: only a new version of it can be started")
    check(record.current, config, models)
    check_beside(record.current, known)
    return _next(record, "running", at, by, final=None)


def ramped(known: Known, key: str, steps: tuple[Step, ...], at: int, by: str) -> Record:
    """Return an experiment with other steps from now on; those that were reached stand."""
    record = known.find(key)
    if record.state not in ("draft", "running"):
        raise Refused(f"experiment {key!r} is {record.state}: nobody takes part, so there is nothing to ramp")
    if not steps:
        raise Refused(f"experiment {key!r}: a ramp needs at least one step")
    if early := [step.at for step in steps if step.at < at]:
        raise Refused(f"ramp of {key!r}: {early[0]} is over; a step begins now or later")
    current = record.current
    before = tuple(step for step in current.ramp if step.at < at)
    if not current.ramp and steps[0].at > at:
        before = (Step(current.at, 1.0),)  # until the first step all take part, as they did
    changed = msgspec.structs.replace(current, ramp=(*before, *steps))
    _check_ramp(changed)
    return _next(record, record.state, at, by, versions=(*record.versions[:-1], changed))


def ended(
    known: Known,
    key: str,
    state: Ended,
    at: int,
    reason: str = "",
    by: str = "",
    sheets: Mapping[Arm, Sheet] | None = None,
) -> Record | None:
    """Return an experiment that nobody takes part in any more; None for one that already is as it shall be.

    `sheets` are what its arms have come to, which its reports stand by from then on; None where that is not known.
    """
    record = known.find(key)
    if record.state in (state, "killed"):
        return None
    kept = record.final
    if record.state == "running" and sheets is not None and record.current.unit != "item":
        kept = final(record.current, sheets)
    return _next(record, state, at, by, reason, final=kept)


def held(known: Known, share: float, seed: str, at: int, by: str) -> Holdout:
    """Return the global holdout of another size: a larger one contains a smaller one of the same seed."""
    if not 0.0 <= share <= 1.0:
        raise Refused(f"share={share} of the holdout is outside 0..1")
    return Holdout(revision=known.holdout.revision + 1, share=share, seed=seed, at=at, by=by)


def check(said: Definition, config: Config, models: Collection[str]) -> None:
    """Raise Refused for a definition that contradicts itself, or names what there is not."""
    if said.key == HOLDOUT:
        raise Refused(f"key={HOLDOUT!r}: the name is taken by the users kept out of every experiment")
    if (size := len(msgspec.msgpack.encode(said))) > LARGEST:
        raise Refused(f"{said.key!r}: the definition takes {size} bytes, {LARGEST} at most")
    _check_arms(said)
    if not said.slice[0] < said.slice[1]:
        raise Refused(f"slice={list(said.slice)}: it begins where it ends, so nobody takes part")
    if not said.layer and said.slice != (0.0, 1.0):
        raise Refused(f"slice={list(said.slice)} of no layer: name the layer that it is a part of")
    _check_ramp(said)
    if said.sticky and (said.unit, said.kind) != ("user", "ab"):
        raise Refused(
            f"sticky: only users can keep the arm of an earlier version, not {said.unit}s of an {said.kind} test"
        )
    if said.where.max_events is not None and said.where.max_events < said.where.min_events:
        raise Refused(f"where.max_events={said.where.max_events} is below min_events={said.where.min_events}")
    for name in said.surfaces:
        if name not in config.surfaces:
            raise Refused(
                f"surfaces={name!r} is not a surface; there are {', '.join(sorted(config.surfaces))}"
            )
    for arm, one in said.arms.items():
        where = f"arms.{arm}.set"
        if said.unit == "item":
            _check_boost(where, one.set)
            continue
        model = one.set.get("model")
        if model is not None and model not in models:
            raise Refused(
                f"{where}.model={model!r} is not a model that can serve; there are {', '.join(models) or 'none'}"
            )
        for surface in said.surfaces or config.surfaces:
            try:
                check_actions(where, surface_with(config.surfaces[surface], one.set, where), config.actions)
            except SettingsError as error:
                raise Refused(str(error)) from None
    _check_metrics(said, config)


def check_beside(said: Definition, known: Known) -> None:
    """Raise Refused for a definition that cannot run beside those that run or are drafts."""
    beside = [
        one.current
        for key, one in known.records.items()
        if key != said.key and one.state in ("draft", "running")
    ]
    for other in beside:
        if said.layer and said.layer == other.layer:
            if said.unit != other.unit:
                raise Refused(
                    f"layer {said.layer!r} divides {other.unit}s (see {other.key!r}): {said.unit}s need another layer"
                )
            if said.slice[0] < other.slice[1] and other.slice[0] < said.slice[1]:
                raise Refused(
                    f"slice={list(said.slice)} of layer {said.layer!r} overlaps {list(other.slice)} of {other.key!r}"
                )
            continue
        if (said.surfaces and other.surfaces and not {*said.surfaces} & {*other.surfaces}) or "item" in (
            said.unit,
            other.unit,
        ):
            continue
        both = next(_common(said, other), None)
        if both:
            raise Refused(
                f"{both!r} is set by {other.key!r} too: give both a slice of one layer, so that nobody is in both"
            )
        if said.kind == other.kind == "interleaved":
            raise Refused(
                f"{other.key!r} is interleaved too: give both a slice of one layer, so that nobody is in both"
            )
    layers = {one.layer or f"{one.key}/" for one in (said, *beside) if one.unit != "item"}
    if len(layers) > MOST:
        raise Refused(
            f"{len(layers)} experiments could meet in one list, {MOST} at most; share layers or stop some"
        )


def _next(record: Record, state: State, at: int, by: str, reason: str = "", **changed: Any) -> Record:
    decision = Decision(state, at, reason[:REASON], by)
    return msgspec.structs.replace(
        record,
        revision=record.revision + 1,
        state=state,
        decided=(*record.decided, decision)[-KEPT:],
        **changed,
    )


def _check_arms(said: Definition) -> None:
    weights = {name: arm.weight for name, arm in said.arms.items()}
    if said.control not in weights:
        raise Refused(f"control={said.control!r} is no arm; there are {', '.join(weights) or 'none'}")
    if BOTH in weights:
        raise Refused(
            f"arms.{BOTH}: the name is taken by those who see both arms of an interleaved experiment"
        )
    if not sum(weights.values()) > 0:
        raise Refused(f"arms: weights {list(weights.values())} do not sum to anything, so nobody gets an arm")
    if len([one for one in weights.values() if one]) < 2 or not weights[said.control]:
        raise Refused(f"arms: {weights} leaves nothing to compare; the control and another arm need a weight")
    if said.kind == "interleaved" and (
        len(weights) != 2 or len({*weights.values()}) > 1 or said.unit != "user"
    ):
        raise Refused("an interleaved experiment has two arms of the same weight, and its unit is the user")


def _check_ramp(said: Definition) -> None:
    times = [step.at for step in said.ramp]
    if times != sorted(set(times)):
        raise Refused(f"ramp: its steps must follow each other in time, but begin at {times}")


def _check_boost(where: str, said: Mapping[str, Any]) -> None:
    boost = said.get("boost", 1.0)
    if set(said) - {"boost"}:
        raise Refused(f"{where}={dict(said)}: an arm of items sets their `boost` and nothing else")
    if isinstance(boost, bool) or not isinstance(boost, int | float) or not 0.0 <= boost <= BOOST:
        raise Refused(f"{where}.boost={boost!r} is outside 0..{BOOST:g}")


def _check_metrics(said: Definition, config: Config) -> None:
    if said.unit == "item":
        if said.metrics or said.where != type(said.where)():
            raise Refused(
                "metrics and where: users have them; of items all that is done with them is measured"
            )
        return
    for name, metric in said.metrics.items():
        for part in filter(None, (metric.of, metric.per)):
            if len(part) > LONGEST:
                raise Refused(f"metrics.{name}: a measure has at most {LONGEST} characters")
            surface = _measured(name, part)
            if surface is not None and surface not in config.surfaces:
                raise Refused(
                    f"metrics.{name}: {part!r} names no surface; there are {', '.join(sorted(config.surfaces))}"
                )
        if not metric.of:
            raise Refused(f"metrics.{name}.of is empty: name the measure whose mean it is")
        if metric.of == metric.per:
            raise Refused(f"metrics.{name}: {metric.of!r} per {metric.per!r} is always 1")
    if len(said.measures) > MEASURES:
        raise Refused(
            f"metrics: {len(said.measures)} measures ({', '.join(said.measures)}), {MEASURES} at most; "
            "covariate = false saves those from before"
        )


def _measured(name: str, part: str) -> str | None:
    try:
        return measure(part).surface
    except Refused as error:
        raise Refused(f"metrics.{name}: {error}") from None


def _common(one: Definition, other: Definition) -> Iterator[str]:
    """Yield the parameters that arms of both set."""
    theirs = {path for arm in other.arms.values() for path in _paths(arm.set)}
    for path in sorted({path for arm in one.arms.values() for path in _paths(arm.set)}):
        if any(path == each or path.startswith(f"{each}.") or each.startswith(f"{path}.") for each in theirs):
            yield path


def _paths(said: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in said.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"
