"""Gates: what a model must have shown before it may serve; each one that holds it back is named with its figure."""

from collections.abc import Callable
from dataclasses import dataclass

from streams.models import Model, Registry

QUALITY, KEEPS, HARM = 1.0, 0.9, 0.9  # shares of what the compared model reached
CALIBRATION = 0.25  # chances are wrong by so much of the rate of choices, on average
LATENCY_MS = 3.0  # for a thousand candidates
ENOUGH = 200  # choices below which a slice says too little to hold a model back


@dataclass(frozen=True)
class Gate:
    """One question to a version; `asks` returns the figure, the bound and whether a higher figure is better."""

    name: str
    help: str
    asks: Callable[[Model], list[tuple[str, float, float, bool]]]


def _quality(model: Model) -> list[tuple[str, float, float, bool]]:
    return [("ndcg@10", model.metrics["ndcg@10"], QUALITY * model.compared["ndcg@10"], True)]


def _coverage(model: Model) -> list[tuple[str, float, float, bool]]:
    return [("coverage@10", model.metrics["coverage@10"], KEEPS * model.compared["coverage@10"], True)]


def _slices(model: Model) -> list[tuple[str, float, float, bool]]:
    return [
        (f"ndcg@10 of {name}", part.ndcg, HARM * part.compared, True)
        for name, part in model.slices.items()
        if part.choices >= ENOUGH
    ]


GATES: tuple[Gate, ...] = (
    Gate("quality", "NDCG@10 on the later span is at least that of the compared model", _quality),
    Gate(
        "calibration",
        "chances are off by at most a quarter of the rate of choices",
        lambda model: [("calibration_error", model.metrics["calibration_error"], CALIBRATION, False)],
    ),
    Gate(
        "latency",
        "1,000 candidates are scored in 3 ms on one core",
        lambda model: [("latency_ms", model.metrics["latency_ms"], LATENCY_MS, False)],
    ),
    Gate("coverage", "the share of items ever shown keeps nine tenths of the compared model's", _coverage),
    Gate("slices", "no slice of 200 choices or more loses over a tenth of its NDCG@10", _slices),
)


def held_by(registry: Registry, model: Model) -> list[str]:
    """Return why a version may not become live, one reason a gate; none where it may."""
    live = registry.live(model.name)
    found = []
    if live is not None and live.version not in (model.version, model.against):
        found.append(
            f"compared: it was measured against {model.against or 'nothing'}, {live.version} is live by now"
        )
    for gate in GATES:
        try:
            asked = gate.asks(model)
        except KeyError as missing:
            found.append(f"{gate.name}: {missing.args[0]} was not measured")
            continue
        found += [
            f"{gate.name}: {what} is {figure:.4g}, {'at least' if higher else 'at most'} {bound:.4g} is asked"
            for what, figure, bound, higher in asked
            if not (figure >= bound if higher else figure <= bound)  # NaN passes no gate
        ]
    return found
