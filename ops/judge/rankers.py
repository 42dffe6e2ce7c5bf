"""Rankers: the models of the registry that configurations name, for answering past requests again."""

from collections.abc import Iterable

from api.rankers import Fixed
from models.rankers import ranker_of
from models.surfaces import Surface
from streams import artifacts
from streams.models import Registry
from streams.settings import Settings


def rankers_of(settings: Settings, registry: Registry, surfaces: Iterable[Surface]) -> Fixed:
    """Return the rankers of surfaces of the full tier: the live version of a name, or a version by `name@version`.

    A name of which none is live is left out, as it is when requests are served. Raises Refused for a version that is
    not there, StateError for one that cannot be served.
    """
    found = {}
    for key in {surface.model for surface in surfaces if surface.tier == "full"}:
        model = registry.find(key) if "@" in key else registry.live(key)
        if model is not None:
            found[key] = ranker_of(model, artifacts.load(settings, model.artifact, model.size))
    return Fixed(**found)
