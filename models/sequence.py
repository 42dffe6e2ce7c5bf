"""The sequence model: what is chosen next, from the order of what was chosen; trained offline, run here in numpy.

Causal self-attention over a trail (Kang and McAuley 2018, "Self-attentive sequential recommendation"), with how far
back an item lies as a learned addition to the attention (Shaw et al. 2018) instead of positions, so that a trail of
any length is read alike. Its query's inner product with an item's place is that item's logit, as for
`models.stack.query` and `places`, and so the places can stand in a vector index.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from models.arrays import named, shaped
from streams.errors import StateError
from streams.models import Kind

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.integer]
_EPS = np.float32(1e-6)


@dataclass(frozen=True, slots=True)
class SequenceModel:
    """A trained model of n items, d wide, of b blocks; all arrays are float32.

    `item` (n, d) and `bias` (n,) are the items; `scale` (2 b + 2, d) the norms: of items, before each half of each
    block, and of the query; `mix` (b, d, 3 d) makes queries, keys and values, `merge` (b, d, d) joins the heads,
    `lag` (b, heads, window) is added to the attention by distance; `up` (b, d, m) and `down` (b, m, d) are the
    second halves.
    """

    kind: ClassVar[Kind] = "sequence"
    item: Floats
    bias: Floats
    scale: Floats
    mix: Floats
    merge: Floats
    lag: Floats
    up: Floats
    down: Floats

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[np.float32]]) -> "SequenceModel":
        """Return the model of named arrays; raises StateError, naming what is wrong."""
        names = [field.name for field in fields(cls)]
        named("a sequence model has", arrays, names)
        model = cls(**arrays)
        if model.item.ndim != 2 or model.lag.ndim != 3 or model.up.ndim != 3:
            raise StateError(f"a sequence model with items of shape {model.item.shape} is none of ours")
        (n, d), (b, heads, window), m = model.item.shape, model.lag.shape, model.up.shape[2]
        shapes = (
            (n, d),
            (n,),
            (2 * b + 2, d),
            (b, d, 3 * d),
            (b, d, d),
            (b, heads, window),
            (b, d, m),
            (b, m, d),
        )
        shaped(arrays, dict(zip(names, shapes, strict=True)))
        if 0 in (n, b, heads, window, m) or d % heads:
            raise StateError(
                f"a sequence model of {n} items, {b} blocks, {heads} heads in {d} numbers is none"
            )
        return model

    @property
    def window(self) -> int:
        """How many items of a trail count."""
        return int(self.lag.shape[2])

    def query(self, after: Indices) -> Floats:
        """Return the vector (d + 1,) of a trail of items, the newest first; times a place it is the logit.

        After nothing at all it is zero but for the last number, so that the biases rank.
        """
        vector = np.zeros(self.item.shape[1] + 1, np.float32)
        vector[-1] = 1.0
        if len(after):
            x = _norm(self.item[after[: self.window][::-1]], self.scale[0])
            last = len(self.lag) - 1
            for b in range(last + 1):
                x = _block(self, b, x, 1 if b == last else len(x))
            vector[:-1] = _norm(x[-1], self.scale[-1])
        return vector

    def places(self) -> Floats:
        """Return the places (n, d + 1) of the items: vector and bias."""
        return np.concatenate([self.item, self.bias[:, None]], axis=1)


def _block(model: SequenceModel, b: int, x: Floats, wanted: int) -> Floats:
    """Return the newest `wanted` rows of x (length, d), oldest first, after block b."""
    x, old = x[-wanted:], _norm(x, model.scale[1 + 2 * b])
    d = x.shape[1]
    heads = model.lag.shape[1]
    queries = (old[-wanted:] @ model.mix[b, :, :d]).reshape(wanted, heads, -1).swapaxes(0, 1)
    keys, values = (old @ model.mix[b, :, d:]).reshape(len(old), 2, heads, -1).transpose(1, 2, 0, 3)
    lag = np.arange(len(old) - wanted, len(old))[:, None] - np.arange(len(old))
    share = queries @ keys.swapaxes(1, 2) * np.float32((d // heads) ** -0.5)
    share = np.where(lag >= 0, share + model.lag[b][:, np.maximum(lag, 0)], np.float32(-np.inf))
    share = np.exp(share - share.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    x = x + (share @ values).swapaxes(0, 1).reshape(wanted, d) @ model.merge[b]
    grown: Floats = np.maximum(_norm(x, model.scale[2 + 2 * b]) @ model.up[b], 0) @ model.down[b]
    return x + grown


def _norm(x: Floats, scale: Floats) -> Floats:
    """Return rows of length one by their root mean square, scaled (Zhang and Sennrich 2019)."""
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + _EPS) * scale, np.float32)
