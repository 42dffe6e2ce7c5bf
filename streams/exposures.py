"""Exposures: who was shown which arm of which experiment, as an event in the life of a user.

An exposure is an event of the reserved type `exposure`: its `value` is the number of items shown, its `request_id` and
`at` those of the slate. It stands in the one log that orders a user's life, so what followed it needs no join.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from streams.checks import Kind

EXPOSURE = "exposure"  # reserved event type, written by the API alone
MOST = 16  # experiments of one list
MEASURES = 16  # of one experiment
PLACES = 20  # of an interleaved list, whose teams are told
TEAM = 5  # bytes of a place: the item's hash (`models.users.seen_hash`), and 0 or 1 for the arm that chose it

Measure = Annotated[str, Meta(min_length=1, max_length=140)]


class Exposure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One list shown under one arm, and what is to be measured of the user from then on.

    `measures` are names as `models.trials.measure` reads them, the same for all arms of a version. `teams` is for
    interleaved lists: `TEAM` bytes for each of the first `PLACES` items. `unit` names who was assigned, where that is
    not the user of the event: a session.
    """

    experiment: Kind
    version: int
    arm: Kind
    measures: Annotated[tuple[Measure, ...], Meta(max_length=MEASURES)] = ()
    teams: Annotated[bytes, Meta(max_length=PLACES * TEAM)] = b""
    unit: Annotated[str, Meta(max_length=256)] = ""


Exposures = Annotated[tuple[Exposure, ...], Meta(max_length=MOST)]
