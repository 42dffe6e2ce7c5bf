"""Marks: how far each source has been folded into a row, kept in the row itself."""


def source(index: int, epoch: int, partition: int) -> int:
    """Return the number that names one partition of one of a table's sources.

    >>> source(1, 0, 3) == 1 << 32 | 3
    True
    """
    return index << 32 | epoch << 16 | partition


def in_order(marks: dict[int, int]) -> dict[int, int]:
    """Return marks by source, as a row holds them: its bytes do not tell which source was read first.

    >>> in_order({2: 7, 1: 5})
    {1: 5, 2: 7}
    """
    return dict(sorted(marks.items())) if len(marks) > 1 else marks


def advance(marks: dict[int, int], key: int, origin: int) -> bool:
    """Move the mark of a source to `origin`; False when it already stood there or beyond: fold nothing then."""
    if marks.get(key, -1) >= origin:
        return False
    marks[key] = origin
    return True
