"""Verdict: what an experiment's sheets say of it, as a report that may be read at any time, as often as one likes.

Where the arms' numbers of units contradict their weights nothing is concluded; else a breached guardrail comes first,
then the primary metrics. An interleaved experiment is decided by how many users preferred which arm's items.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from scipy.special import bdtr

from models import srm
from models.comparison import Comparison, Interval, Result, breach, comparisons, corrected
from models.finals import standing
from models.inference import select
from models.outcomes import Sheet
from models.sequential import ALPHA, RHO, TIGHTEST
from streams.experiments import BOTH, Definition, Record

Sheets = Mapping[tuple[int, str], Sheet]  # by version and arm
Verdict = Literal["empty", "open", "better", "worse", "mismatch", "breached"]


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Units by arm beside what the weights expect; `p` holds at any time and decides, `chi_square_p` for one look."""

    units: dict[str, int]
    expected: dict[str, float]
    p: float
    chi_square_p: float
    mismatch: bool


class Preference(msgspec.Struct, frozen=True, kw_only=True):
    """Of an interleaved experiment: users who preferred the `arm`'s items (`wins`), the control's, or neither's.

    `share` is that of wins among both, `interval` and `p` hold at any time, `p_once` is the sign test's.
    """

    arm: str
    wins: int
    losses: int
    ties: int
    share: float | None
    interval: Interval
    p: float
    p_once: float
    result: Result


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an experiment's current version at a time (ms): a verdict, and what it rests on.

    `alpha` is the chance of a wrong verdict; `rho` the tuning of the intervals, narrowest at `tightest` units.
    `notes` tell what a reader must know.
    """

    experiment: str
    version: int
    kind: Literal["ab", "interleaved"]
    unit: Literal["user", "session", "item"]
    state: str
    at: int
    verdict: Verdict
    words: str
    units: dict[str, int]
    ratio: Ratio | None = None
    comparisons: tuple[Comparison, ...] = ()
    preference: Preference | None = None
    notes: tuple[str, ...] = ()
    alpha: float = ALPHA
    rho: float = RHO
    tightest: int = TIGHTEST


def judge(record: Record, sheets: Sheets, at: int) -> Report:
    """Return the report on the current version of an experiment; what is missing is said in it, never raised.

    `sheets` are those of now; of what has ended those of the end count, where they are known.
    """
    tried, sheets = record.current, standing(record, sheets)
    arms = _arms(tried, sheets)
    units = {arm: sheet.units for arm, sheet in arms.items()}
    ratio = _ratio(record, units) if tried.kind == "ab" else None
    compared = corrected(comparisons(tried, arms)) if tried.kind == "ab" else ()
    preference = _preference(tried, arms[BOTH]) if tried.kind == "interleaved" else None
    verdict, words = _verdict(units, ratio, compared, preference)
    if tried.unit == "item" and not sheets:
        words = "what items came to is summed from the log: `refold experiment report`"
    return Report(
        experiment=record.key, version=tried.version, kind=tried.kind, unit=tried.unit, state=record.state, at=at,
        verdict=verdict, words=words, units=units, ratio=ratio, comparisons=compared, preference=preference,
        notes=_notes(record, arms, ratio),
    )  # fmt: skip


def breaches(record: Record, sheets: Sheets) -> list[str]:
    """Return, in words, every guardrail of the current version that is breached."""
    tried = record.current
    if tried.kind != "ab" or not any(metric.margin is not None for metric in tried.metrics.values()):
        return []
    compared = comparisons(tried, _arms(tried, sheets), guards_only=True)
    return [breach(one) for one in compared if one.guard == "breached"]


def _arms(tried: Definition, sheets: Sheets) -> dict[str, Sheet]:
    names = [BOTH] if tried.kind == "interleaved" else [arm for arm, one in tried.arms.items() if one.weight]
    return {arm: sheets.get((tried.version, arm), Sheet.empty(tried.measures)) for arm in names}


def _ratio(record: Record, units: dict[str, int]) -> Ratio | None:
    tried, total = record.current, sum(units.values())
    if not total or len(units) < 2 or _reweighed(record):
        return None
    weights = [tried.arms[arm].weight for arm in units]
    counts = list(units.values())
    p = float(srm.at_any_time(counts, weights))
    return Ratio(
        units=units,
        expected={arm: total * weight / sum(weights) for arm, weight in zip(units, weights, strict=True)},
        p=p,
        chi_square_p=float(srm.chi_square(counts, weights)),
        mismatch=p < srm.ALPHA,
    )


def _reweighed(record: Record) -> bool:
    """Tell whether units keep arms that an earlier version gave them by other weights."""
    *earlier, tried = record.versions
    weights = {arm: one.weight for arm, one in tried.arms.items()}
    return tried.sticky and any({a: one.weight for a, one in old.arms.items()} != weights for old in earlier)


def _preference(tried: Definition, both: Sheet) -> Preference | None:
    arm = next(name for name in tried.arms if name != tried.control)
    if "prefers" not in both.names:
        return None
    total, chosen = (round(float(cell)) for cell in select(both, "prefers")[[0, 1], 1])
    wins, losses = (chosen + total) // 2, (chosen - total) // 2
    p = float(srm.at_any_time([wins, losses], [1, 1], srm.SIGNS))
    return Preference(
        arm=arm, wins=wins, losses=losses, ties=both.units - chosen,
        share=wins / chosen if chosen else None, interval=srm.share(wins, losses, ALPHA), p=p,
        p_once=min(1.0, 2 * float(bdtr(min(wins, losses), chosen, 0.5))) if chosen else 1.0,
        result="unknown" if not chosen else "open" if p >= ALPHA else "better" if wins > losses else "worse",
    )  # fmt: skip


def _verdict(
    units: Mapping[str, int],
    ratio: Ratio | None,
    compared: tuple[Comparison, ...],
    preference: Preference | None,
) -> tuple[Verdict, str]:
    if not any(units.values()):
        return "empty", "nobody has been exposed yet"
    if ratio is not None and ratio.mismatch:
        found = ", ".join(f"{arm} {n} of {ratio.expected[arm]:.0f}" for arm, n in units.items())
        return (
            "mismatch",
            f"units do not come as the weights say ({found}; p={ratio.p:.2g}): nothing is concluded",
        )
    if breached := [breach(one) for one in compared if one.guard == "breached"]:
        return "breached", "; ".join(breached)
    if preference is not None:
        of = f"{preference.wins} of {preference.wins + preference.losses} users preferred {preference.arm!r}"
        verdict: Verdict = "open" if preference.result == "unknown" else preference.result
        return verdict, f"{of} (p={preference.p:.2g})"
    primary = [one for one in compared if one.primary]
    if not primary:
        return "open", "no metric is primary: read the comparisons"
    for result in ("better", "worse"):
        certain = [one for one in primary if one.result == result]
        if certain and (result == "better" or len(certain) == len(primary)):
            best = max(certain, key=lambda one: abs(one.difference or 0.0))
            by = "" if best.lift is None else f" by {best.lift:+.1%}"
            return result, f"arm {best.arm!r} is {result} in {best.metric!r}{by} (p={best.p_corrected:.2g})"
    if reasons := list(dict.fromkeys(one.reason for one in primary if one.reason)):
        return "open", "; ".join(reasons)
    return "open", f"no difference of the primary metric is certain at {ALPHA:g} yet"


def _notes(record: Record, arms: Mapping[str, Sheet], ratio: Ratio | None) -> tuple[str, ...]:
    notes = [] if record.final is None else ["as it stood when it ended: what users did later does not count"]
    if ratio is None and record.current.kind == "ab" and _reweighed(record):
        notes.append(
            "units keep arms that earlier versions gave by other weights: the sample ratio is not tested"
        )
    capped = {
        arm: float(select(sheet, "capped")[0, 1]) for arm, sheet in arms.items() if "capped" in sheet.names
    }
    if any(capped.values()):
        notes.append("events left out as repeats or beyond the rate: " + _told(capped))
    return tuple(notes)


def _told(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number:,.0f}" for name, number in numbers.items())
