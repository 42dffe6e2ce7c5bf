"""Report: what is known of an experiment by now, read from Kafka, for a program and for a person."""

from collections.abc import Iterator
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from api.outcomes import sheets
from models.comparison import Comparison, Interval
from models.outcomes import Outcomes
from models.verdict import Report, Sheets, judge
from ops.experiment import items
from ops.experiment.lists import shown
from streams.changelog import NOTE, Reading
from streams.experiments import Record
from streams.log import Log

WIDTH = 110


def reported(log: Log, partitions: int, tried: Record, now: int, *, lists: bool = False) -> dict[str, Any]:
    """Return the report on an experiment, with `lists` what each arm showed; raises as the log does."""
    if tried.current.unit == "item":
        report = judge(*items.outcomes(log, tried, now), now)
    else:
        report = judge(tried, outcomes(log, partitions).get(tried.key, {}), now)
    said: dict[str, Any] = msgspec.to_builtins(report)
    return said | ({"lists": shown(log, tried)} if lists else {})


def outcomes(log: Log, partitions: int) -> dict[str, Sheets]:
    """Return the sheets of every experiment, as the changelog of `outcomes` tells them."""
    rows: dict[str, list[Outcomes]] = {}
    for number in range(partitions):
        reading, found = Reading(), dict[bytes, bytes | None]()
        for batch in log.changelog("outcomes", number):
            found |= reading.read(batch)
        for key, row in found.items():
            if row is not None and key != NOTE:
                rows.setdefault(key.decode(), []).append(Outcomes.from_row(row))
    return {key: sheets(parts) for key, parts in rows.items()}


def show(said: dict[str, Any]) -> None:
    """Print a report for a person."""
    out = Console(highlight=False, soft_wrap=True)
    out.width = max(out.width, WIDTH)  # a line too long for a terminal is still whole in a file
    report = msgspec.convert({name: part for name, part in said.items() if name != "lists"}, Report)
    out.print(f"{report.experiment} version {report.version}, {report.state}: {report.verdict}")
    out.print(report.words, markup=False)
    out.print(*_facts(report), sep="\n", markup=False)
    if report.comparisons:
        out.print(_comparisons(report.comparisons))
        for one in report.comparisons:
            if one.reason:
                out.print(f"{one.metric}, {one.arm}: {one.reason}", markup=False)
    if "lists" in said:
        out.print(_lists(said["lists"]["arms"]))


def _facts(report: Report) -> Iterator[str]:
    yield "units: " + ", ".join(f"{arm} {count:,}" for arm, count in report.units.items())
    if report.ratio is not None:
        yield f"sample ratio: p={report.ratio.p:.3g} at any time, {report.ratio.chi_square_p:.3g} for one look"
    if (found := report.preference) is not None:
        yield (
            f"preferred: {found.arm} by {found.wins:,}, the control by {found.losses:,}, neither by {found.ties:,}; "
            f"share {found.interval[0]:.1%} .. {found.interval[1]:.1%}, p={found.p:.3g} at any time, "
            f"{found.p_once:.3g} for one look"
        )
    yield from report.notes


def _comparisons(compared: tuple[Comparison, ...]) -> Table:
    table = Table("metric", "arm", "control", "value", "lift, at any time", "p", "result", box=SIMPLE_HEAD)
    for one in compared:
        guard = "" if one.guard == "none" else f", guardrail {one.guard}"
        table.add_row(
            one.metric + (" *" if one.primary else ""), one.arm, _number(one.control), _number(one.value),
            _lift(one.lift, one.lift_interval), _number(one.p_corrected), one.result + guard,
        )  # fmt: skip
    return table


def _lists(arms: dict[str, dict[str, Any]]) -> Table:
    names = ("lists", "places", "items", "coverage", "coverage_alike", "gini")
    table = Table("arm", *names, box=SIMPLE_HEAD)
    for arm, figures in arms.items():
        table.add_row(arm, *(_number(figures[name]) for name in names))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _lift(value: float | None, ends: Interval | None) -> str:
    return ("-" if value is None else f"{value:+.1%}") + (
        "" if ends is None else f" ({ends[0]:+.1%} to {ends[1]:+.1%})"
    )
