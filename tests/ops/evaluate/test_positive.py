"""The language of --positive."""

import polars as pl
import pytest

from ops.evaluate.positive import positive
from streams.errors import Refused

TABLE = pl.DataFrame(
    {
        "rating": [5, 4, 3, None],
        "kind": ["film", "song", "rock and roll", None],
        "dwell time": [0.5, 10.0, -1.5, 1e3],
        "new": [True, False, True, None],
    }
)


def rows(text):
    return TABLE.select(positive(text, TABLE.schema).alias("held"))["held"].arg_true().to_list()


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("rating>=4", [0, 1]),
        (" rating = 4 ", [1]),
        ("rating!=4", [0, 2]),
        ("rating < 4.5 and rating > 3", [1]),
        ("rating == 5 OR rating == 3", [0, 2]),
        ("rating==5 or rating>=3 and kind==song", [0, 1]),
        ("kind == film", [0]),
        ("kind == 'rock and roll'", [2]),
        ('kind != "film"', [1, 2]),
        ("`dwell time` > -2 and `dwell time` < .6", [0, 2]),
        ("`dwell time` >= 1e3", [3]),
        ("new == true", [0, 2]),
    ],
)
def test_what_holds(text, held):
    assert rows(text) == held


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is not understood"),
        ("rating", "'rating' is not understood; it takes `column op number`"),
        ("rating >= 4 and", "'' is not understood"),
        ("rating >= 4 rating < 5", "is not understood"),
        ("rating >= 4; drop", "is not understood"),
        ("rating => 4", "is not understood"),
        ("rating >= 4x", "column 'rating' holds numbers, 4x is none"),
        ("__import__('os')", "is not understood"),
        ("stars >= 4", "no column 'stars'; there are rating, kind, dwell time, new"),
        ("rating >= many", "column 'rating' holds numbers, many is none"),
        ("kind > 3", "column 'kind' is String, which compares by == and != only"),
    ],
)
def test_what_is_refused(text, reason):
    with pytest.raises(Refused) as refused:
        rows(text)
    assert reason in str(refused.value)
