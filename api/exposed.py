"""Exposed: the experiments a list was shown under, and those that made no difference to it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import msgspec

from api.ladder import Outcome
from models.assignment import Assigned
from models.interleaving import NEITHER, Teams, told
from models.surfaces import Surface
from streams.exposures import Exposure


@dataclass(slots=True)
class Exposed:
    """The exposures of one list, shared by all answers that repeat it.

    `ask` tells under which of the `compared` experiments every arm would have shown the same; it is asked once, when
    the answer has left.
    """

    exposures: tuple[Exposure, ...] = ()
    ask: Callable[[], Collection[str]] | None = None
    compared: Collection[str] = ()
    alike: tuple[str, ...] = ()

    def certain(self) -> tuple[Exposure, ...]:
        """Return what need not be asked any more: all exposures, or those to what is not compared."""
        if self.ask is None:
            return self.exposures
        return tuple(one for one in self.exposures if one.experiment not in self.compared)

    def rest(self) -> tuple[Exposure, ...]:
        """Return the exposures to what is compared, and did make a difference."""
        self.settle()
        return tuple(one for one in self.exposures if one.experiment in self.compared)

    def settle(self) -> None:
        """Leave out the exposures to what made no difference."""
        if self.ask is not None:
            self.alike, self.ask = tuple(self.ask()), None
            self.exposures = tuple(one for one in self.exposures if one.experiment not in self.alike)


def exposures(assigned: Assigned, items: Sequence[str], teams: Teams | None) -> tuple[Exposure, ...]:
    """Return the exposures of a list of items; two rankings that agree, or could not be merged, tell nothing."""
    found = [one for one in assigned.exposures if one.experiment != assigned.between]
    if teams is not None and (teams != NEITHER).any():
        said = told(items[: len(teams)], teams[: len(items)])
        found += [
            msgspec.structs.replace(one, teams=said)
            for one in assigned.exposures
            if one.experiment == assigned.between
        ]
    return tuple(found)


def alike(assigned: Assigned, listed: Callable[[tuple[Surface, ...]], list[Outcome]]) -> list[str]:
    """Return the experiments all of whose arms show the same list; `listed` makes those of surfaces, at one moment."""
    surfaces = [assigned.surface, *(other for others in assigned.others.values() for other in others)]
    own, *rest = [
        None if one.ranked is None else one.ranked.slots.tolist() for one in listed(tuple(surfaces))
    ]
    found, at = [], 0
    for key, others in assigned.others.items():
        if all(theirs == own for theirs in rest[at : at + len(others)]):
            found.append(key)
        at += len(others)
    return found
