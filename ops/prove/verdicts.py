"""Verdicts: the simulator and the scenarios one after the other, and all of them in one line."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ops.prove import scenarios
from ops.prove.simulator import simulate
from streams.errors import SettingsError
from streams.settings import Settings

SIMULATOR = "simulator"
HISTORIES = 20_000
QUICK = (SIMULATOR, "mixed")  # what CI runs
SUMS = ("kills", "events", "duplicates", "dead_letters", "seconds")

Verdict = dict[str, Any]


def names() -> list[str]:
    """Return everything that can be proved, in the order in which it is."""
    return [SIMULATOR, *scenarios.SCENARIOS]


def prove(
    settings: Settings,
    chosen: Sequence[str],
    seed: int,
    *,
    quick: bool,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Verdict]:
    """Yield the verdict of each chosen scenario, of all without a choice, of the quick ones if that was asked.

    `say` is told the name of each before it runs. Raises SettingsError on an unknown name.
    """
    for name in chosen:
        if name not in names():
            raise SettingsError(f"there is no scenario {name!r}; there are: {', '.join(names())}")
    for name in chosen or (QUICK if quick else names()):
        say(name)
        if name == SIMULATOR:
            yield asdict(simulate(HISTORIES, seed))
        else:
            yield scenarios.run(name, settings, seed, quick=quick)


def together(verdicts: Sequence[Verdict], seed: int) -> Verdict:
    """Return one verdict over several: equal only if all are; counts are sums, the time to recover the longest.

    >>> together([{"scenario": "kill", "verdict": "equal", "kills": 2}], 1)["verdict"]
    'equal'
    """
    differing = [verdict["scenario"] for verdict in verdicts if verdict["verdict"] != "equal"]
    longest = [verdict.get("seconds_to_recover", {}).get("max", 0.0) for verdict in verdicts]
    return {
        "verdict": "different" if differing else "equal",
        "scenario": "all of " + ", ".join(verdict["scenario"] for verdict in verdicts),
        "seed": seed,
        **{name: sum(verdict.get(name, 0) for verdict in verdicts) for name in SUMS},
        "seconds_to_recover": {"max": max(longest, default=0.0)},
        "differences": differing,
    }
