"""Duration: how long an experiment must run to find a lift, from what a metric is like now, before it is started."""

from collections.abc import Mapping
from math import ceil
from typing import Any

from models.comparison import measured
from models.inference import mean, select
from models.outcomes import Sheet
from models.power import size
from models.verdict import Sheets
from streams.errors import Refused
from streams.experiments import Metric


def planned(sheet: Sheet, metric: Metric) -> tuple[float, float]:
    """Return a metric, and the variance of one unit's share in it that is left by what was known before."""
    value, variance = mean(select(sheet, metric.of, metric.per))
    return float(value), float(variance * measured(sheet, sheet, metric).kept)


def pilot(known: Mapping[str, Sheets], metric: Metric) -> tuple[str, Sheet]:
    """Return the experiment, and the largest sheet of one of its arms, that holds a metric; raises Refused."""
    names = {metric.of, metric.per} - {""}
    found = [
        (sheet.units, key, sheet) for key, sheets in sorted(known.items()) for sheet in sheets.values()
        if names <= set(sheet.names) and sheet.units
    ]  # fmt: skip
    if not found:
        raise Refused(
            f"no experiment has measured {' and '.join(sorted(names))} yet: give --mean and --variance of one user"
        )
    _, key, sheet = max(found, key=lambda one: one[:2])
    return key, sheet


def metric(said: str) -> Metric:
    """Return the metric of its short form; raises Refused for none.

    >>> metric("click/lists")
    Metric(of='click', per='lists', better='up', primary=False, margin=None)
    """
    of, _, per = said.partition("/")
    if not of or "/" in per:
        raise Refused(
            f"{said!r} is no metric: give a measure such as click.any, or two of which one divides: click/lists"
        )
    return Metric(of, per)


def duration(
    value: float, variance: float, lift: float, users_per_day: float, arms: int, power: float
) -> dict[str, Any]:
    """Return how many users and days are needed; `users_per_day` are new ones. Raises Refused as `size` does."""
    if not users_per_day > 0:
        raise Refused(f"users_per_day={users_per_day:g}: someone must come")
    units, once = size(value, variance, lift, [1] * arms, power=power)
    return {
        "mean": value, "variance": variance, "lift": lift, "power": power, "arms": arms,
        "users": units, "days": ceil(units / users_per_day),
        "users_looking_once": once, "days_looking_once": ceil(once / users_per_day),
    }  # fmt: skip
