"""What every contract at the boundary shares: bounded identifiers, finite numbers, believable times."""

import math
import re
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from streams.errors import Refused

MAX_ID_BYTES = 256
OLDEST = 946_684_800_000  # 2000-01-01, ms: nothing was clicked before
FUTURE = 86_400_000  # a clock may be a day ahead of the broker's, not more

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES)]
PATTERN = re.compile(r"^[a-z][a-z0-9_.-]{0,63}$")
Name = Annotated[str, Meta(pattern=PATTERN.pattern)]
Kind = Annotated[str, Meta(min_length=1, max_length=64)]  # a Name whose pattern its contract checks itself
Text = Annotated[str, Meta(max_length=1024)]
Millis = Annotated[int, Meta(ge=OLDEST, le=4_102_444_800_000)]
Scalar = Text | float | bool  # bounded: a row must fit a record


def check_ids(*ids: str | None) -> None:
    """Refuse an id over 256 bytes of UTF-8; msgspec's own limit counts characters."""
    for value in ids:
        if value and not value.isascii() and len(value.encode()) > MAX_ID_BYTES:
            raise Refused(f"id {value[:32]!r}... is over {MAX_ID_BYTES} bytes")


def check_finite(field: str, values: Iterable[object]) -> None:
    """Refuse NaN and infinity, which poison every sum they enter."""
    for value in values:
        if isinstance(value, float) and not math.isfinite(value):
            raise Refused(f"{field} holds {value}, which is not a finite number")


def check_time(at: int, now: int) -> None:
    """Refuse a time more than a day after `now` (ms): the wall clock at HTTP, the record's time in Kafka."""
    if at > now + FUTURE:
        raise Refused(f"at={at} lies more than a day after {now}; times are milliseconds since 1970")
