"""Rankers: what a version of the registry serves as, by its kind."""

from models.blended import Blended
from models.boosted import Boosted
from streams.errors import StateError
from streams.models import Model


def ranker_of(model: Model, data: bytes) -> Boosted | Blended:
    """Return the ranker of a version and its artifact's verified bytes; raises StateError, naming the version."""
    if model.kind == "boosted":
        return Boosted.of(model, data)
    if model.kind == "sequence":
        return Blended.of(model, data)
    raise StateError(f"{model.key} cannot be served: a model of kind {model.kind!r} ranks nothing by itself")
