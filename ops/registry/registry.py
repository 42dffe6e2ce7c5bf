"""What the registry's commands tell and decide: what is there, what serves, and which shall."""

from collections.abc import Mapping
from typing import Any

import msgspec

from models.rankers import ranker_of
from ops.registry.gates import held_by
from streams import artifacts
from streams.errors import Refused
from streams.models import Model, Registry, Stage, Stages
from streams.settings import Settings

SHOWN = ("ndcg@10", "hr@10", "calibration_error", "latency_ms")  # of the metrics, in a list


def listed(registry: Registry) -> list[dict[str, Any]]:
    """Return every version, the newest first."""
    every = sorted(registry.models.values(), key=lambda model: (model.name, -model.made_at))
    return [
        {"model": model.key, "kind": model.kind, "stage": registry.stage(model), "made_at": model.made_at}
        | {name: model.metrics[name] for name in SHOWN if name in model.metrics}
        for model in every
    ]


def shown(registry: Registry, key: str) -> dict[str, Any]:
    """Return everything known of a version; raises Refused for an unknown one."""
    model = registry.find(key)
    return {
        "model": model.key,
        "stage": registry.stage(model),
        "held_by": held_by(registry, model),
        "kind": model.kind,
        "artifact": model.artifact,
        "size": model.size,
        "features": list(model.features),
        "metrics": model.metrics,
        "against": model.against,
        "compared": model.compared,
        "slices": {name: msgspec.structs.asdict(part) for name, part in model.slices.items()},
        "span": {topic: {str(n): list(ends) for n, ends in parts.items()} for topic, parts in model.span.items()},
        "data": model.data,
        "made_at": model.made_at,
        "decisions": [
            {"stage": one.stage, "at": one.at, "reason": one.reason}
            for one in registry.of(model.name).made
            if one.version == model.version
        ],
        "card": model.card,
    }  # fmt: skip


def promote(
    settings: Settings, registry: Registry, key: str, stage: Stage, at: int, reason: str = ""
) -> tuple[Stages, dict[str, Any]]:
    """Return the stages with a version in another one, and what to tell of it.

    One that shall be live must pass the gates, or a `reason` overrules them.

    Raises Refused, naming every gate that holds it back, StateError for an artifact that cannot be served.
    """
    model = registry.find(key)
    before = registry.stage(model)
    if before == stage:
        raise Refused(f"{model.key} is {stage} already")
    if stage in ("live", "shadow"):
        _check(settings, model)
    held = held_by(registry, model) if stage == "live" else []
    if held and not reason:
        raise Refused(
            f"{model.key} is not promoted: {'; '.join(held)}; --force with a reason promotes it all the same"
        )
    stages = registry.of(model.name).move(model.version, stage, at, reason)
    return stages, {"model": model.key, "stage": stage, "was": before, "overruled": held}


def rollback(
    settings: Settings, registry: Registry, name: str, at: int, reason: str = ""
) -> tuple[Stages, dict[str, Any]]:
    """Return the stages with the live version retired and the one before it live again, or none; raises Refused."""
    stages = registry.of(name)
    if not stages.live:
        known = ", ".join(sorted({model.name for model in registry.models.values()})) or "none"
        raise Refused(f"no version of {name!r} is live; names of models: {known}")
    back = stages.back(at, reason)
    if back.live:
        model = registry.find(f"{name}@{back.live}")
        _check(settings, model)
    return back, {"model": name, "live": back.live, "retired": stages.live}


def differing(registry: Registry, first: str, second: str) -> dict[str, Any]:
    """Return what differs between two versions: features, metrics, spans."""
    one, other = registry.find(first), registry.find(second)
    return {
        "models": [one.key, other.key],
        "stages": [registry.stage(one), registry.stage(other)],
        "features": {
            "removed": sorted(set(one.features) - set(other.features)),
            "added": sorted(set(other.features) - set(one.features)),
        },
        "metrics": _changed(one.metrics, other.metrics),
        "slices": _changed(_ndcg(one), _ndcg(other)),
        "span": [_ends(one), _ends(other)],
        "made_at": [one.made_at, other.made_at],
    }


def _check(settings: Settings, model: Model) -> None:
    """Raise StateError for a version whose artifact cannot be served."""
    ranker_of(model, artifacts.load(settings, model.artifact, model.size))


def _changed(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, list[float | None]]:
    every = sorted({*one, *other})
    return {name: [one.get(name), other.get(name)] for name in every if one.get(name) != other.get(name)}


def _ndcg(model: Model) -> dict[str, float]:
    return {name: part.ndcg for name, part in model.slices.items()}


def _ends(model: Model) -> dict[str, int]:
    return {topic: sum(end for _, end in parts.values()) for topic, parts in model.span.items()}
