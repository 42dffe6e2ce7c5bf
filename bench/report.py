"""The form of every measurement: figures beside their targets, one JSON object on the last line."""

import json
from collections.abc import Callable, Mapping
from typing import Any

AT_LEAST, AT_MOST = "at least", "at most"
Target = tuple[str, float]


def report(
    bench: str, broker: str, figures: Mapping[str, float], targets: Mapping[str, Target]
) -> dict[str, Any]:
    """Return the object a bench prints; a target without its figure counts as missed.

    >>> report("x", "none", {"a": 2.0}, {"a": (AT_LEAST, 1.0)})["met"]
    True
    """
    reached: Mapping[str, Callable[[float, float], bool]] = {
        AT_LEAST: lambda figure, bound: figure >= bound,
        AT_MOST: lambda figure, bound: figure <= bound,
    }
    met = all(
        name in figures and reached[how](figures[name], bound) for name, (how, bound) in targets.items()
    )
    return {
        "bench": bench,
        "broker": broker,
        "figures": dict(figures),
        "targets": {name: f"{how} {bound:g}" for name, (how, bound) in targets.items()},
        "met": met,
    }


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """Print a report: a line per figure for people, or the object on one line."""
    if as_json:
        print(json.dumps(result), flush=True)
        return
    print(f"{result['bench']} on {result['broker']}")
    for name, figure in result["figures"].items():
        print(f"  {name:28} {figure:>14,.3f}   {result['targets'].get(name, '')}")
    print("met" if result["met"] else "MISSED")
