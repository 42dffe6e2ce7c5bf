"""Rankers: what a version of the registry serves as, by its kind."""

from models.blended import Blended
from models.boosted import Boosted
from streams.models import Model


def ranker_of(model: Model, data: bytes) -> Boosted | Blended:
    """Return the ranker of a version and its artifact's verified bytes; raises StateError, naming the version."""
    if model.kind == "boosted":
        return Boosted.of(model, data)
    return Blended.of(model, data)
