"""Define: experiments as a person writes and reads them: definitions in files, steps of a ramp, who has which arm."""

import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from models.assignment import Assigner
from models.surfaces import Config
from models.units import unit_of
from models.users import User
from streams import times
from streams.changelog import Reading
from streams.errors import Refused
from streams.experiments import Definition, Holdout, Known, Record, Step
from streams.log import Log
from streams.partition import partition_of
from streams.settings import Settings


def read(path: Path) -> Definition:
    """Return the definition of a TOML or JSON file; raises Refused, naming the file and the place in it."""
    try:
        text = path.read_text()
        said = msgspec.json.decode(text) if path.suffix == ".json" else tomllib.loads(text)
        return msgspec.convert(_in_ms(said), Definition)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise Refused(f"{path}: {error}") from None
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is not {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None


def step(text: str, now: int) -> Step:
    """Return a step of a ramp: a share now, or from a time on, `0.5@2026-12-01` or `0.5@+2d`; raises Refused.

    >>> step("0.1", 5), step("0.5@+2h", 1_795_428_000_000)
    (Step(at=5, share=0.1), Step(at=1795435200000, share=0.5))
    """
    share, _, when = text.partition("@")
    at = 2 * now - times.parse(when[1:], now) if when.startswith("+") else times.parse(when or "now", now)
    try:
        return msgspec.convert({"at": at, "share": float(share)}, Step)
    except ValueError:  # that of msgspec is one, too
        raise Refused(f"{text!r} is no step of a ramp: give a share of 0..1, and a time behind @") from None


def listed(known: Known, now: int) -> list[dict[str, Any]]:
    """Return a line for each experiment."""
    return [
        {
            "key": key,
            "state": record.state,
            "version": record.current.version,
            "revision": record.revision,
            "kind": record.current.kind,
            "unit": record.current.unit,
            "layer": record.current.layer,
            "share": record.current.share(now),
            "arms": list(record.current.arms),
        }
        for key, record in sorted(known.records.items())
    ]


def told(word: Record | Holdout) -> dict[str, Any]:
    """Return what became of an experiment, or of the holdout."""
    if isinstance(word, Holdout):
        return {"share": word.share, "seed": word.seed, "revision": word.revision}
    return {"key": word.key, "state": word.state, "version": word.current.version, "revision": word.revision}


def who(
    known: Known,
    config: Config,
    user_id: str,
    user: User | None,
    now: int,
    surface: str,
    context: Mapping[str, str],
) -> Iterator[dict[str, str]]:
    """Yield each experiment with the arm that a user has on a surface, "" for none, and why."""
    assigner = Assigner(known, config, now)
    for key, arm, why in assigner.met(unit_of(user_id, user, now, context, surface)):
        yield {"experiment": key, "arm": arm, "why": why}
    for key, why in assigner.refused.items():
        yield {"experiment": key, "arm": "", "why": f"cannot run: {why}"}
    for key, record in sorted(known.records.items()):
        if record.at(now) is None:
            yield {"experiment": key, "arm": "", "why": record.state}


def user_of(log: Log, settings: Settings, user_id: str) -> User | None:
    """Return a user as the changelog has them, None for one it does not know; raises as the log does."""
    reading, key, row = Reading(), user_id.encode(), None
    for batch in log.changelog("users", partition_of(user_id, settings.partitions)):
        row = reading.read(batch).get(key, row)
    return None if row is None else User.from_row(row)


def _in_ms(said: Any) -> Any:
    """Return what a file says with its dates as milliseconds, UTC unless they say otherwise."""
    if isinstance(said, datetime):
        return int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(said, dict):
        return {key: _in_ms(value) for key, value in said.items()}
    return [_in_ms(value) for value in said] if isinstance(said, list) else said
