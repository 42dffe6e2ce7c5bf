"""The topic `models`: every version of a model that was trained, and what was decided about each name.

A version never changes once it is published. What is decided about a name is one record, so that a promotion is
one write, seen whole or not at all, and one version at most is live.
"""

from typing import Literal

import msgspec

from streams import control
from streams.errors import Refused
from streams.settings import Settings

VERSION = 1
TOPIC = "models"
KEPT = 50  # decisions remembered of a name
Kind = Literal["boosted", "sequence", "vectors"]
Stage = Literal["candidate", "shadow", "live", "retired"]


class Slice(msgspec.Struct, frozen=True, array_like=True):
    """NDCG@10 on a part of the later span: of `choices`, for this model and for the one it is compared with."""

    choices: int
    ndcg: float
    compared: float


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a model as it was trained.

    `version` is the beginning of the artifact's SHA-256, which is `artifact`; `size` in bytes. `features` are those
    it reads, in order. `span` tells by topic and partition which offsets it learned from (first, end), `data` a
    file's name where it was none of the log. `metrics` were measured on a later span, `compared` those of
    `against` (a version, or the online stack) on the same choices. `made_at` in ms.
    """

    v: int = VERSION
    name: str
    version: str
    kind: Kind
    artifact: str
    size: int
    features: tuple[str, ...]
    metrics: dict[str, float]
    against: str = ""
    compared: dict[str, float] = {}
    slices: dict[str, Slice] = {}
    span: dict[str, dict[int, tuple[int, int]]] = {}
    data: str = ""
    made_at: int = 0
    card: str = ""

    @property
    def key(self) -> str:
        """What names it: `name@version`."""
        return f"{self.name}@{self.version}"


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """A version entered a stage at a time (ms); `reason` where a gate was overruled."""

    version: str
    stage: Stage
    at: int
    reason: str = ""


class Stages(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided about a name; `before` were live earlier, the newest last. Undecided is `candidate`."""

    v: int = VERSION
    name: str
    live: str = ""
    shadow: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    made: tuple[Decision, ...] = ()

    def of(self, version: str) -> Stage:
        """Return the stage of a version."""
        if version == self.live:
            return "live"
        if version in self.shadow:
            return "shadow"
        return "retired" if version in self.before or version in self.retired else "candidate"

    def move(self, version: str, stage: Stage, at: int, reason: str = "") -> "Stages":
        """Return these with a version in another stage; a new live one sends the old live one among `before`."""
        live, before = self.live, tuple(one for one in self.before if one != version)
        if stage == "live" and live not in ("", version):
            before = (*before, live)
        elif live == version:
            live = ""
        return Stages(
            name=self.name,
            live=version if stage == "live" else live,
            shadow=(*_without(self.shadow, version), *((version,) if stage == "shadow" else ())),
            before=before[-KEPT:],
            retired=(*_without(self.retired, version), *((version,) if stage == "retired" else ()))[-KEPT:],
            made=(*self.made, Decision(version, stage, at, reason))[-KEPT:],
        )

    def back(self, at: int, reason: str = "") -> "Stages":
        """Return these with the live version retired and the one before it live again, or none."""
        retired = self.move(self.live, "retired", at, reason)
        return retired.move(self.before[-1], "live", at, reason) if self.before else retired


class Registry(msgspec.Struct, frozen=True):
    """Everything the topic says: versions by `name@version`, stages by name."""

    models: dict[str, Model] = {}
    stages: dict[str, Stages] = {}

    def find(self, key: str) -> Model:
        """Return a version by `name@version`, a beginning of it that one version has; raises Refused."""
        found = [model for known, model in self.models.items() if known.startswith(key) and "@" in key]
        if len(found) != 1:
            known = ", ".join(self.models) or "none"
            what = "no version" if not found else f"{len(found)} versions"
            raise Refused(f"{key!r} names {what} of a model; there are: {known}")
        return found[0]

    def of(self, name: str) -> Stages:
        """Return what is decided about a name."""
        return self.stages.get(name, Stages(name=name))

    def live(self, name: str) -> Model | None:
        """Return the live version of a name; None without one."""
        return self.models.get(f"{name}@{self.of(name).live}")

    @property
    def served(self) -> list[str]:
        """What an arm of an experiment can name: names with a live ranker, and rankers live or in shadow by key."""
        every = self.models.values()
        live = {model.name for model in every if self.stage(model) == "live"}
        return sorted(live | {model.key for model in every if self.stage(model) in ("live", "shadow")})

    def stage(self, model: Model) -> Stage:
        """Return the stage of a version."""
        return self.of(model.name).of(model.version)


def version_of(artifact: str) -> str:
    """Return the version that an artifact's SHA-256 gives a model.

    >>> version_of("0123456789abcdef" * 4)
    '0123456789ab'
    """
    return artifact[:12]


def decode(said: dict[str, bytes]) -> Registry:
    """Return the registry of the last words by key; raises StateError for one that another release wrote."""
    models: dict[str, Model] = {}
    stages: dict[str, Stages] = {}
    for key, value in said.items():
        if "@" in key:
            models[key] = control.word(TOPIC, key, value, Model, VERSION)
        else:
            stages[key] = control.word(TOPIC, key, value, Stages, VERSION)
    return Registry(models, stages)


def load(settings: Settings) -> Registry:
    """Return what is registered; raises as `control.read` and `decode` do."""
    return decode(control.read(settings, TOPIC))


def publish(settings: Settings, model: Model) -> None:
    """Record a version; its artifact must be stored already. Raises Unavailable."""
    control.write(settings, model.key, msgspec.msgpack.encode(model), TOPIC)


def decide(settings: Settings, stages: Stages) -> None:
    """Record what is decided about a name; raises Unavailable."""
    control.write(settings, stages.name, msgspec.msgpack.encode(stages), TOPIC)


def _without(versions: tuple[str, ...], version: str) -> tuple[str, ...]:
    return tuple(one for one in versions if one != version)
