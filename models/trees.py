"""Boosted trees as flat arrays: what LightGBM trained, predicted without it, the very same sums.

A node is one integer: threshold (32 bits), feature (16) and where its left child stands in the tree (16); the
right child follows the left one, and a leaf leads to itself, so that every row takes as many steps as the tree is
deep and no branch is guessed wrongly. Thresholds and features are compared as integers that order like floats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.compiled import compiled
from models.features import Floats
from streams.errors import StateError

ROWS = 8  # walked side by side: a processor waits for eight nodes at once
MOST = 1 << 15  # nodes of one tree, that 16 bits can name
LEAF = np.int32(np.float32(np.inf).view(np.int32))  # a threshold that nothing is above
Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Trees:
    """An ensemble: `nodes` and leaf `values` of all trees, shape (nodes,); `starts` and `depths`, shape (trees,).

    Raises StateError where a node would lead out of its tree or reads a feature that is not there.
    """

    nodes: Longs
    values: Doubles
    starts: Longs
    depths: Longs
    features: int

    def __post_init__(self) -> None:
        count, sizes = len(self.nodes), np.diff(self.starts, append=len(self.nodes))
        if (
            len(self.values) != count
            or len(self.depths) != len(self.starts)
            or (len(self.starts) and self.starts[0] != 0)
            or bool((sizes < 1).any())
            or bool((self.depths < 0).any())
            or bool((self.depths > MOST).any())
            or not np.isfinite(self.values).all()
        ):
            raise StateError(f"{len(self.starts)} trees of {count} nodes do not fit together")
        size, here = np.repeat(sizes, sizes), np.arange(count) - np.repeat(self.starts, sizes)
        left, leaf = self.nodes & 0xFFFF, (self.nodes >> 32) == LEAF
        if bool((((self.nodes >> 16) & 0xFFFF) >= self.features).any()) or bool(
            np.where(leaf, left != here, left + 1 >= size).any()
        ):
            raise StateError(f"a tree leads out of itself, or reads beyond {self.features} features")

    def predict(self, rows: Floats) -> Doubles:
        """Return the sum of the trees for each row, shape (n,), of features (n, features); NaN counts as 0."""
        ordered = _ordered(np.where(np.isnan(rows), np.float32(0.0), rows).astype(np.float32))
        sums = np.zeros(len(rows), dtype=np.float64)
        _walk(ordered, self.nodes, self.values, self.starts, self.depths, sums)
        return sums


def of_lightgbm(dump: Mapping[str, Any], features: int) -> Trees:
    """Return the trees of LightGBM's `dump_model()`; raises StateError for what cannot be said by comparing alone."""
    nodes: list[int] = []
    values: list[float] = []
    starts, depths = [], []
    for tree in dump["tree_info"]:
        starts.append(len(nodes))
        below, depth = [tree["tree_structure"]], 0
        place, level = 0, [0]
        while place < len(below):  # breadth first, so that two children stand side by side
            node, depth = below[place], max(depth, level[place])
            if "leaf_value" in node:
                nodes.append((int(LEAF) << 32) | place)
            else:
                if node["decision_type"] != "<=" or node["missing_type"] != "None":
                    raise StateError(
                        f"a split by {node['decision_type']!r} with missing values {node['missing_type']!r}: train "
                        "on numbers alone, with use_missing=false"
                    )
                threshold = int(_ordered(np.array([_below(node["threshold"])], dtype=np.float32))[0])
                nodes.append((threshold << 32) | (node["split_feature"] << 16) | len(below))
                below += [node["left_child"], node["right_child"]]
                level += [level[place] + 1] * 2
            values.append(float(node.get("leaf_value", 0.0)))
            place += 1
        if len(below) > MOST:
            raise StateError(f"a tree has {len(below)} nodes; {MOST} can be numbered")
        depths.append(depth)
    return Trees(
        np.array(nodes, dtype=np.int64), np.array(values), np.array(starts, dtype=np.int64),
        np.array(depths, dtype=np.int64), features,
    )  # fmt: skip


def _below(threshold: float) -> np.float32:
    """Return the largest float32 that is not above a double: a float32 is at most both, or above both."""
    near = np.float32(threshold)
    return np.nextafter(near, np.float32(-np.inf)) if float(near) > threshold else near


def _ordered(rows: Floats) -> Ints:
    """Return integers in the order of the floats; minus zero is zero."""
    bits = (rows + np.float32(0.0)).view(np.int32)
    ordered: Ints = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int32, copy=False)
    return ordered


@compiled
def _walk(rows: Ints, nodes: Longs, values: Doubles, starts: Longs, depths: Longs, sums: Doubles) -> None:
    """Add every tree's leaf to the sums of the rows; tree after tree, so that one tree's nodes stay at hand."""
    at = np.zeros(ROWS, dtype=np.int64)
    whole = len(rows) - len(rows) % ROWS
    for tree in range(len(starts)):
        node, value, depth = nodes[starts[tree] :], values[starts[tree] :], depths[tree]
        for first in range(0, whole, ROWS):
            at[:] = 0
            for _ in range(depth):
                for n in range(ROWS):
                    step = node[np.uint64(at[n])]
                    right = rows[first + n, np.uint64((step >> 16) & 0xFFFF)] > (step >> 32)
                    at[n] = (step & 0xFFFF) + right
            for n in range(ROWS):
                sums[first + n] += value[np.uint64(at[n])]
        for row in range(whole, len(rows)):
            place = 0
            for _ in range(depth):
                step = node[place]
                place = (step & 0xFFFF) + (rows[row, (step >> 16) & 0xFFFF] > (step >> 32))
            sums[row] += value[place]
