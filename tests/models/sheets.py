"""Sheets of drawn units, for tests of what is concluded from them."""

import numpy as np

from models.outcomes import Sheet


def sheet(**measures):
    """Return the sheet of units whose measures are these columns."""
    columns = np.column_stack([np.asarray(column, dtype=float) for column in measures.values()])
    rows = np.column_stack([np.ones(len(columns)), columns])
    return Sheet(tuple(measures), rows.T @ rows)


def drawn(draw, units, rate=0.2, lists=4.0):
    """Return the sheet of units who click on lists, as they did before: some are keener than others."""
    keen = draw.gamma(4.0, 0.25, units)
    shown = 1 + draw.poisson(lists - 1, units)
    clicks = draw.poisson(np.minimum(rate * keen, 1.0) * shown)
    return sheet(lists=shown, click=clicks, **{"click.any": clicks > 0, "pre.click": draw.poisson(5 * keen)})
