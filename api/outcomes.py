"""Outcomes as reports read them: the sheets of an experiment, merged over the partitions that each have their users."""

from collections.abc import Iterable

from models.outcomes import Arm, Outcomes, Sheet, merge


def sheets(rows: Iterable[Outcomes]) -> dict[Arm, Sheet]:
    """Return the sheets of an experiment by version and arm, from the rows that `Tables.outcomes` returns."""
    parts: dict[Arm, list[Sheet]] = {}
    for row in rows:
        for arm, sheet in row.sheets.items():
            parts.setdefault(arm, []).append(sheet)
    return {arm: merge(found) for arm, found in sorted(parts.items())}
