import pytest

from streams.errors import Refused
from streams.times import parse, written

NOW = 1_795_435_200_000  # 2026-11-23T12:00:00Z


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", NOW),
        ("2h", NOW - 7_200_000),
        ("90m", NOW - 5_400_000),
        ("1d", NOW - 86_400_000),
        ("0s", NOW),
        (str(NOW), NOW),
        ("2026-11-23T12:00:00Z", NOW),
        ("2026-11-23T12:00", NOW),
        ("2026-11-23T13:00+01:00", NOW),
        ("2026-11-23 12:00:00.250", NOW + 250),
        ("2026-11-23", NOW - 43_200_000),
    ],
)
def test_a_time_is_said_in_many_ways(text, at):
    assert parse(text, NOW) == at


@pytest.mark.parametrize(
    "text",
    ["", "tea", "2 h", "-2h", "2H", "2w", "1795435200", "20261123", "1e12", "2026-13-01", "1999-12-31",
     "99999999999999999999", "\u0661\u0662h", "9" * 5000],
)  # fmt: skip
def test_what_is_no_time_is_named(text):
    with pytest.raises(Refused, match=r"time|2000"):
        parse(text, NOW)


def test_a_written_time_is_read_back():
    assert parse(written(NOW), 0) == NOW
