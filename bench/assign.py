"""What assignment alone costs on one core, with one experiment and with ten: CPU time."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.experiments import tried
from bench.report import AT_MOST, report
from models.assignment import Assigner
from models.surfaces import load
from models.units import Unit
from streams.experiments import Arm, Decision, Definition, Known, Record

NOW = 1_750_000_000_000  # ms
ITEMS = 1_000  # of a request
ROUNDS = 9
TARGETS = {"one_us": (AT_MOST, 5.0), "each_of_ten_us": (AT_MOST, 5.0)}


def run(users: int = 20_000) -> dict[str, Any]:
    """Measure and return the report: medians of nine rounds over so many users."""
    ten = tried(NOW)
    assigners = [Assigner(Known(each), load(), NOW) for each in ({}, {"trial-9": ten["trial-9"]}, ten)]
    units = [Unit(f"user-{n}", events=n % 50) for n in range(users)]
    none, one, all_ten = (
        _rounds(lambda: [assigner.assign(unit) for unit in units]) * 1e6 / users  # noqa: B023
        for assigner in assigners
    )
    boosted = Definition(
        key="items", unit="item", control="a", arms={"a": Arm(), "b": Arm(set={"boost": 1.5})}
    )
    record = Record(key="items", state="running", versions=(boosted,), decided=(Decision("running", 0),))
    assigner, items = Assigner(Known({"items": record}), load(), NOW), [f"item-{n}" for n in range(ITEMS)]
    figures = {
        "none_us": none,
        "one_us": one - none,
        "ten_us": all_ten - none,
        "each_of_ten_us": (all_ten - none) / 10,
        "thousand_items_us": _rounds(lambda: assigner.item_factors(items, "home")) * 1e6,
        "take_ten_ms": _rounds(lambda: Assigner(Known(ten), load(), NOW)) * 1e3,
    }
    return report("assign", "none", {name: round(value, 2) for name, value in figures.items()}, TARGETS)


def _rounds(call: Callable[[], object]) -> float:
    """Return the median of the seconds of computing that a call takes, once it is warm."""
    call()
    took = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        call()
        took.append(time.thread_time() - began)
    return median(took)
