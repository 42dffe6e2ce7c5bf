"""Every finite half float keeps its value."""

import numpy as np

from models.halves import widen


def test_every_finite_half_is_widened_exactly():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    every = every[np.isfinite(every)]
    assert np.array_equal(widen(every), every.astype(np.float32))
    rows = every[: 512 * 9].reshape(512, 9)
    assert np.array_equal(widen(rows), rows.astype(np.float32))
    assert np.array_equal(widen(rows.take([5, 3], axis=0)), rows[[5, 3]].astype(np.float32))
