"""Times as people write them, as milliseconds since 1970."""

import re
from datetime import UTC, datetime

from streams.checks import OLDEST
from streams.errors import Refused

UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO = re.compile(r"([0-9]{1,9})([smhd])")


def parse(text: str, now: int) -> int:
    """Return the time of ISO 8601 (UTC unless it says otherwise), of ms since 1970, of `2h` ago or of `now`.

    Units of what is ago are s, m, h and d. Raises Refused for anything else, and for a time before 2000.

    >>> parse("2026-11-23T10:00", 0), parse("1795428000000", 0), parse("2h", 1795435200000)
    (1795428000000, 1795428000000, 1795428000000)
    """
    if text == "now":
        return now
    if ago := _AGO.fullmatch(text):
        at = now - int(ago[1]) * UNITS[ago[2]]
    elif text.isdecimal() and text.isascii() and len(text) <= 15:
        at = int(text)
    else:
        try:
            said = datetime.fromisoformat(text)
        except ValueError:
            raise Refused(
                f"{text[:40]!r} is no time: give ISO 8601, milliseconds since 1970, or so long ago as 90m or 2h"
            ) from None
        at = int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1000)
    if at < OLDEST:
        raise Refused(f"{text[:40]!r} lies before 2000; plain numbers are milliseconds since 1970")
    return at


def written(at: int) -> str:
    """Return a time as ISO 8601 in UTC, to the second.

    >>> written(1795428000000)
    '2026-11-23T10:00:00Z'
    """
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
