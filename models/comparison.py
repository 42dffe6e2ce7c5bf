"""Comparison: one metric in one arm of an experiment beside the control, as a report tells it.

What decides is the always valid p-value (`models.sequential`), corrected for the number of comparisons (Holm): primary
metrics by themselves, all others together. A guardrail is breached when the arm is surely worse than the control by
more than the margin, and held when it surely is not; the chance of a false alarm is divided among all guardrails.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
import numpy as np

from models.inference import ACTED, ENOUGH, Pair, compare, contrast_variance, difference, lift, score, select
from models.outcomes import Sheet
from models.sequential import ALPHA, Floats, chance, fixed_chance, fixed_reach, holm, reach
from streams.errors import Refused
from streams.experiments import Definition, Metric

Interval = tuple[float, float]
Result = Literal["better", "worse", "open", "unknown"]
Guard = Literal["none", "held", "open", "breached"]
_GUARDS: dict[float, Guard] = {-1.0: "breached", 0.0: "open", 1.0: "held"}


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One metric in one arm beside the control; what could not be computed is null, and `reason` says why.

    `control` and `value` are as counted; `difference` and `lift` (relative) are adjusted by the `covariates`, which
    leave the part `variance_left` of its variance. `interval` and `p` hold at any time, `once` for one look at a time
    that was fixed before. Intervals are each for itself; `p_corrected` is corrected for the number of comparisons.
    """

    metric: str
    of: str
    per: str
    better: Literal["up", "down"]
    primary: bool
    arm: str
    control: float | None = None
    value: float | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    difference_once: Interval | None = None
    lift: float | None = None
    lift_interval: Interval | None = None
    lift_once: Interval | None = None
    p: float | None = None
    p_once: float | None = None
    p_corrected: float | None = None
    covariates: tuple[str, ...] = ()
    variance_left: float = 1.0
    margin: float | None = None
    guard: Guard = "none"
    result: Result = "unknown"
    reason: str = ""


def comparisons(
    tried: Definition, arms: Mapping[str, Sheet], *, guards_only: bool = False
) -> list[Comparison]:
    """Return every metric (or every guardrail) of every arm beside the control; `arms` are the sheets by arm.

    What cannot be compared is said in its `reason`.
    """
    others = [arm for arm in arms if arm != tried.control]
    guards = sum(metric.margin is not None for metric in tried.metrics.values()) * len(others)
    return [
        _comparison(name, metric, arm, tried, arms, ALPHA / max(1, guards))
        for name, metric in tried.metrics.items()
        if metric.margin is not None or not guards_only
        for arm in others
    ]


def _comparison(
    name: str, metric: Metric, arm: str, tried: Definition, arms: Mapping[str, Sheet], alpha: float
) -> Comparison:
    guard: Guard = "none" if metric.margin is None else "open"
    said = Comparison(
        metric=name, of=metric.of, per=metric.per, better=metric.better, primary=metric.primary, arm=arm,
        margin=metric.margin, guard=guard,
    )  # fmt: skip
    control, other = arms.get(tried.control, Sheet.empty(tried.measures)), arms[arm]
    try:
        pair = measured(control, other, metric, covariate=tried.covariate)
        missing = _missing(metric, {tried.control: control, arm: other}, pair)
    except Refused as refused:
        return msgspec.structs.replace(said, reason=str(refused))
    said = msgspec.structs.replace(said, control=_number(pair.plain[0]), value=_number(pair.plain[1]))
    if missing:
        return msgspec.structs.replace(said, reason=missing)
    if metric.margin is not None:
        if pair.value[0] <= 0:
            return msgspec.structs.replace(
                said, reason="the control is not above 0: no harm is relative to it"
            )
        guard = _GUARDS[float(guarded(pair, metric, alpha))]
    found = score(pair)
    gap, *always = difference(pair, reach(pair.units))
    once = difference(pair, fixed_reach())[1:]
    part, *part_always = lift(pair, reach(pair.units))
    part_once = lift(pair, fixed_reach())[1:]
    return msgspec.structs.replace(
        said,
        difference=_number(gap), difference_interval=_interval(always), difference_once=_interval(once),
        lift=_number(part), lift_interval=_interval(part_always), lift_once=_interval(part_once),
        p=float(chance_of(pair)), p_once=float(fixed_chance(found)),
        covariates=covariates_of(control) if tried.covariate and pair.kept < 1 else (),
        variance_left=float(pair.kept), guard=guard,
    )  # fmt: skip


def _missing(metric: Metric, sheets: Mapping[str, Sheet], pair: Pair) -> str:
    """Return why nothing can be concluded of a metric, "" where something can."""
    for arm, sheet in sheets.items():
        if not sheet.units:
            return f"arm {arm!r} has no units yet"
        if metric.per and not select(sheet, metric.per)[0, 1]:
            return f"no {metric.per!r} has been counted in arm {arm!r} yet: it cannot be divided by"
    if not any(select(sheet, metric.of)[1, 1] for sheet in sheets.values()):
        return f"no {metric.of!r} has been counted yet"
    for arm, sheet in sheets.items():
        if sheet.units < ENOUGH:
            return f"arm {arm!r} has {sheet.units} units; nothing is concluded below {ENOUGH}"
    if not contrast_variance(pair.covariance):
        return f"all units have the same {metric.of!r}: nothing varies"
    if not pair.enough:
        return f"too few units have {metric.of!r}; nothing is concluded below {ACTED}"
    return ""


def corrected(compared: list[Comparison]) -> tuple[Comparison, ...]:
    """Return comparisons with corrected p-values and what follows, those of primary metrics by themselves."""
    found = list(compared)
    for primary in (True, False):
        places = [n for n, one in enumerate(found) if one.primary is primary and one.p is not None]
        if places:
            for place, p in zip(places, holm([found[n].p or 0.0 for n in places]), strict=True):
                one = found[place]
                good = ((one.difference or 0.0) > 0) == (one.better == "up")
                result: Result = "open" if p >= ALPHA else "better" if good else "worse"
                found[place] = msgspec.structs.replace(one, p_corrected=float(p), result=result)
    return tuple(found)


def breach(one: Comparison) -> str:
    """Return in words that a guardrail is breached."""
    assert one.margin is not None
    by = f"{one.lift or 0.0:+.1%}"
    return (
        f"guardrail {one.metric!r}: arm {one.arm!r} differs by {by}, surely beyond {one.margin:.1%} of harm"
    )


def measured(control: Sheet, other: Sheet, metric: Metric, *, covariate: bool = True) -> Pair:
    """Return a metric in two arms, adjusted by what units did before; raises Refused for what is not measured."""
    covariates = covariates_of(control) if covariate else ()
    return compare(*(select(sheet, metric.of, metric.per, covariates) for sheet in (control, other)))


def covariates_of(sheet: Sheet) -> tuple[str, ...]:
    """Return the measures of a sheet that were fixed before units were exposed."""
    return tuple(name for name in sheet.names if name.startswith("pre."))


def chance_of(pair: Pair) -> Floats:
    """Return the always valid p-value of no difference, 1 where there are too few units for any conclusion."""
    return np.where(pair.enough, chance(score(pair), pair.units), 1.0)


def guarded(pair: Pair, metric: Metric, alpha: float) -> Floats:
    """Return -1 where a guardrail is breached at `alpha`, 1 where it is proven to hold, else 0."""
    assert metric.margin is not None
    up = metric.better == "up"
    away = score(pair, 1 - metric.margin if up else 1 + metric.margin) * (1 if up else -1)
    sure = pair.enough & (pair.value[..., 0] > 0) & (np.abs(away) > reach(pair.units, alpha))
    return np.where(sure, np.sign(away), 0.0)


def _number(value: object) -> float | None:
    found = float(value)  # type: ignore[arg-type]
    return found if np.isfinite(found) else None


def _interval(ends: Iterable[object]) -> Interval | None:
    low, high = (_number(end) for end in ends)
    return None if low is None or high is None else (low, high)
