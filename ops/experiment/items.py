"""Items: the outcomes of an experiment whose units are items, summed from the log.

An item is in its arm wherever it is shown, so its unit is what all users did with it since the version began; what they
did in as long a time before is its covariate. Every item of the catalogue that takes part is a unit, shown or not.
"""

from collections import Counter, defaultdict

import msgspec
import numpy as np

from models.actions import IMPRESSION
from models.lots import arm_of_item
from models.outcomes import Sheet
from models.verdict import Sheets
from ops.experiment.catalogue import acts, began, catalogue, lists, over
from streams.experiments import Metric, Record
from streams.log import Log

TYPES = 5  # of events, the most frequent


def outcomes(log: Log, tried: Record, now: int) -> tuple[Record, Sheets]:
    """Return the sheets of an experiment on items, and its record with a metric for each of what was counted.

    `lists` are those an item was shown in; each of the most frequent types of event is measured, and what it is per
    list shown; nothing counts that came after the experiment ended.
    """
    current, since, now = tried.current, began(tried), over(tried, now)
    arm_of = arm_of_item(current, now)
    arms = {item: arm for item in catalogue(log) if (arm := arm_of(item))}
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for slate, items in lists(log, since, Counter()):
        if slate.at <= now and (not current.surfaces or slate.surface in current.surfaces):
            counted["lists"].update(item for item in items if item in arms)
    for event in acts(log, 2 * since - now):
        if event.at <= now and event.item_id in arms and event.type != IMPRESSION:
            counted[event.type if event.at >= since else f"pre.{event.type}"][event.item_id] += 1
    frequent = sorted((kind for kind in counted if kind != "lists" and not kind.startswith("pre.")),
                      key=lambda kind: -counted[kind].total())[:TYPES]  # fmt: skip
    names = ("lists", *frequent, *(f"pre.{kind}" for kind in frequent if f"pre.{kind}" in counted))
    sheets = {
        (current.version, arm): _sheet(names, counted, [item for item, its in arms.items() if its == arm])
        for arm in current.arms
    }
    metrics = {kind: Metric(kind) for kind in frequent}
    metrics |= {f"{kind} per list": Metric(kind, "lists") for kind in frequent}
    measured = msgspec.structs.replace(current, metrics=metrics)
    return msgspec.structs.replace(tried, versions=(*tried.versions[:-1], measured)), sheets


def _sheet(names: tuple[str, ...], counted: dict[str, Counter[str]], items: list[str]) -> Sheet:
    rows = np.array([[1.0] * len(items), *([counted[name][item] for item in items] for name in names)])
    return Sheet(names, rows @ rows.T)
