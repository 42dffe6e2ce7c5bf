"""Arms: what the experiments make of a request; when that breaks, it is as if there were none."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from api.answers import Request
from api.funnel import Factors
from api.ladder import Count
from models.assignment import Assigned, Assigner, Experiments
from models.features import Floats
from models.surfaces import Config
from models.units import Unit, unit_of
from models.users import User
from streams.errors import Refused

log = logging.getLogger(__name__)
T = TypeVar("T")
NOBODY: list[tuple[str, str, str]] = []  # experiment, arm, why


class Arms:
    """Asks the assigner of the moment; failures are counted as those of the rung `experiments`."""

    def __init__(self, experiments: Experiments, config: Config, count: Count) -> None:
        self._experiments, self._config, self._count = experiments, config, count

    @property
    def assigner(self) -> Assigner:
        """The assigner of the moment."""
        return self._experiments.assigner

    def assigned(self, unit: Unit) -> Assigned:
        """Return what a unit gets, the surface as configured if that cannot be told; raises Refused."""
        found = self.guarded("nobody can be assigned", lambda: self.assigner.assign(unit), None)
        return found or Assigned({}, self._config.surfaces[unit.surface])

    def factors(self, surface: str) -> Factors | None:
        """Return what tells the factors of items that are tried on a surface, None where none is."""
        assigner = self.assigner

        def factors(items: Sequence[str]) -> Floats | None:
            return self.guarded(
                "no item can be assigned", lambda: assigner.item_factors(items, surface), None
            )

        return None if factors(()) is None else factors

    def reasons(self, unit: Unit) -> dict[str, str]:
        """Return for each experiment of a surface the unit's arm, or none, and why."""
        met = self.guarded("no reasons can be given", lambda: list(self.assigner.met(unit)), NOBODY)
        return {key: f"{arm or 'not in it'}: {why}" for key, arm, why in met}

    def guarded(self, what: str, call: Callable[[], T], otherwise: T) -> T:
        """Return what is called, or `otherwise` when it breaks, which is logged and counted; raises Refused."""
        try:
            return call()
        except Refused:
            raise
        except Exception:
            log.exception("experiments: %s", what)
            self._count("failures", {"rung": "experiments"})
            return otherwise


def unit(request: Request, known: Callable[[str], User | None]) -> Unit:
    """Return whom a request is for; `known` finds their row, if there is one."""
    who = request.user_id or (request.session[0].user if request.session else "")
    user = known(who) if who else None
    return unit_of(who, user, request.at, request.context, request.surface, request.forced)
