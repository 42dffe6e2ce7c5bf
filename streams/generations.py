"""Generations of the state: every full set of tables folded from the log, the live one and those beside it.

A generation has its own groups, changelogs and RocksDB folders (`Settings.app`), so that rows of two folds never
mix. All are recorded together in one record of `control`: a switch is one write, seen whole or not at all.
"""

import dataclasses
from typing import Literal

import msgspec

from streams import control
from streams.errors import StateError
from streams.settings import Settings

VERSION = 1
NAME = "generations"
Stage = Literal["building", "standby", "live"]  # folded by a rebuild; kept up by workers; and served


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One set of tables; `folds` fingerprints, by stage of the workers, the code and weights that fold it.

    `touches` numbers the generation whose touches its items are folded from; `made_at` in ms.
    """

    number: int
    stage: Stage
    folds: dict[str, str]
    touches: int = 0
    made_at: int = 0

    def of(self, settings: Settings) -> Settings:
        """Return the settings under which this generation's topics, groups and folders are meant."""
        return dataclasses.replace(settings, generation=self.number, touches=self.touches)


class Generations(msgspec.Struct, frozen=True, kw_only=True):
    """Every generation there is; at most one is live, none before the first worker has started.

    `next` is the number of a new one: none is used twice, so that nobody takes a dropped one's leftovers for it.
    """

    v: int = VERSION
    all: tuple[Generation, ...] = ()
    next: int = 0

    @property
    def live(self) -> Generation | None:
        """The generation that is served."""
        return next((one for one in self.all if one.stage == "live"), None)

    @property
    def running(self) -> tuple[Generation, ...]:
        """Those that workers keep up."""
        return tuple(one for one in self.all if one.stage != "building")

    def find(self, number: int) -> Generation:
        """Return a generation by number; raises StateError when there is none."""
        for one in self.all:
            if one.number == number:
                return one
        known = ", ".join(str(one.number) for one in self.all) or "none"
        raise StateError(f"there is no generation {number} of the state; there are: {known}")

    def put(self, changed: Generation) -> "Generations":
        """Return these with one added or replaced; a new live one makes the old live one stand by."""
        kept = []
        for one in self.all:
            if one.number == changed.number:
                continue
            demoted = changed.stage == "live" and one.stage == "live"
            kept.append(msgspec.structs.replace(one, stage="standby") if demoted else one)
        every = tuple(sorted([*kept, changed], key=lambda one: one.number))
        return Generations(all=every, next=max(self.next, changed.number + 1))

    def drop(self, number: int) -> "Generations":
        """Return these without one; raises StateError when it is live or unknown."""
        if self.find(number).stage == "live":
            raise StateError(f"generation {number} is live: make another one live first")
        return Generations(all=tuple(one for one in self.all if one.number != number), next=self.next)


def decode(value: bytes | None) -> Generations:
    """Return the generations of a record; raises StateError when another release wrote it."""
    if value is None:
        return Generations()
    try:
        found = msgspec.msgpack.decode(value, type=Generations)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"the record of the generations cannot be read: {error}") from None
    if found.v != VERSION:
        raise StateError(f"the record of the generations has version {found.v}, this release reads {VERSION}")
    return found


def load(settings: Settings) -> Generations:
    """Return what is recorded; raises as `control.read` and `decode` do."""
    return decode(control.read(settings).get(NAME))


def save(settings: Settings, generations: Generations) -> None:
    """Record generations; raises Unavailable."""
    control.write(settings, NAME, msgspec.msgpack.encode(generations))


def of_live(settings: Settings) -> Settings:
    """Return settings that mean the live generation: these themselves where one is set, or none is recorded."""
    live = None if settings.generation else load(settings).live
    return settings if live is None else live.of(settings)
