"""Finals: what an experiment had come to when it ended, kept in the word that ended it.

Its users go on acting and are shown nothing more of it, so a ratio per list would drift for ever after.
"""

from collections.abc import Mapping

import numpy as np

from models.outcomes import Arm, Sheet
from streams.experiments import Definition, Final, Record


def final(tried: Definition, sheets: Mapping[Arm, Sheet]) -> Final:
    """Return what the arms of a version have come to."""
    found = {arm: sheet for (version, arm), sheet in sheets.items() if version == tried.version}
    names = tuple(dict.fromkeys(name for sheet in found.values() for name in sheet.names))
    half = np.triu_indices(len(names) + 1)
    return Final(names, {arm: tuple(sheet.under(names)[half].tolist()) for arm, sheet in found.items()})


def standing(record: Record, sheets: Mapping[Arm, Sheet]) -> Mapping[Arm, Sheet]:
    """Return the sheets that a report reads: those of the end where they are known, else these of now."""
    if record.final is None:
        return sheets
    size = len(record.final.names) + 1
    found = {}
    for arm, cells in record.final.arms.items():
        gram = np.zeros((size, size))
        gram[np.triu_indices(size)] = cells
        found[record.current.version, arm] = Sheet(record.final.names, np.triu(gram, 1).T + gram)
    return found
