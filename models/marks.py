"""Marks: how far each source has been folded into a row, kept in the row itself."""


def source(index: int, epoch: int, partition: int) -> int:
    """Return the number that names one partition of one of a table's sources.

    >>> source(1, 0, 3) == 1 << 32 | 3
    True
    """
    return index << 32 | epoch << 16 | partition


def advance(marks: dict[int, int], key: int, origin: int) -> bool:
    """Move the mark of a source to `origin`; False when it already stood there or beyond: fold nothing then."""
    if marks.get(key, -1) >= origin:
        return False
    marks[key] = origin
    return True
