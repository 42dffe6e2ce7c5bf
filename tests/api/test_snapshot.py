"""Snapshots of the vector index come back whole, and no broken byte gets past the checksums."""

import numpy as np
import pytest

from api.index import VectorIndex
from streams.errors import StateError

D = 8


def drawn(seed, n):
    return np.random.default_rng(seed).standard_normal((n, D)).astype(np.float16).astype(np.float32)


def same(index, vectors, query, count):
    slots, scores = index.search(query, count)
    expected = sorted((float(vector @ query) for vector in vectors.values()), reverse=True)[:count]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    np.testing.assert_allclose(scores, [vectors[s] @ query for s in slots.tolist()], atol=1e-4)


@pytest.fixture
def saved(tmp_path):
    """A folder with one snapshot of a base and an overlay, and the vectors in it."""
    index, vectors = VectorIndex(D, automatic=False), dict(enumerate(drawn(0, 50)))
    index.update(list(vectors), list(vectors.values()))
    index.rebuild(wait=True)
    index.update([3, 60], rows := drawn(1, 2))
    index.remove([4])
    vectors |= {3: rows[0], 60: rows[1]}
    del vectors[4]
    index.save(tmp_path, {"offsets": {"0": 17}})
    return tmp_path, vectors


def test_snapshot_roundtrip(saved):
    """A loaded index answers as the saved one did, hands back the meta, and goes on from there."""
    folder, vectors = saved
    index, meta = VectorIndex.load(folder, D, automatic=False)
    assert (meta, len(index), index.fresh) == ({"offsets": {"0": 17}}, len(vectors), 2)
    for _ in range(2):
        for query in drawn(7, 5):
            same(index, vectors, query, 20)
        index.rebuild(wait=True)


def test_no_snapshot_is_a_first_start(tmp_path):
    """An empty or missing folder is no error; an empty index has a snapshot too."""
    assert VectorIndex.load(tmp_path / "none", D) is None
    assert VectorIndex.load(tmp_path, D) is None
    VectorIndex(D).save(tmp_path, {})
    index, _ = VectorIndex.load(tmp_path, D)
    assert len(index) == 0


def test_three_snapshots_are_kept_and_remains_removed(saved):
    """The newest three stay; what a crash left half-written goes and is never loaded."""
    folder, _ = saved
    (folder / ".00000009.tmp").mkdir()
    index, _ = VectorIndex.load(folder, D)
    for at in range(4):
        index.save(folder, {"at": at})
    assert sorted(p.name for p in folder.iterdir()) == ["00000003", "00000004", "00000005"]
    assert VectorIndex.load(folder, D)[1] == {"at": 3}


@pytest.mark.parametrize("part", ["manifest", "base", "based", "slots", "vectors"])
def test_every_changed_byte_is_refused(saved, part):
    """Any flipped byte, any truncation and a missing file is refused with a reason, before USearch reads."""
    path = saved[0] / "00000001" / part
    good = path.read_bytes()
    flips = range(0, len(good), max(1, len(good) // 150))
    broken = [good[:at] + bytes([good[at] ^ 0x40]) + good[at + 1 :] for at in flips]
    broken += [good[:at] for at in (0, 1, 31, 32, 40, len(good) // 2, len(good) - 1) if at < len(good)]
    for content in [*broken, good + b"\0"]:
        path.write_bytes(content)
        with pytest.raises(StateError, match="no good snapshot"):
            VectorIndex.load(saved[0], D)
    path.unlink()
    with pytest.raises(StateError, match="cannot be read"):
        VectorIndex.load(saved[0], D)
    path.write_bytes(good)
    assert VectorIndex.load(saved[0], D) is not None


def test_older_snapshot_stands_in_for_a_broken_one(saved):
    """Loading falls back to the next older snapshot that is good."""
    folder, vectors = saved
    index, _ = VectorIndex.load(folder, D)
    newer = index.save(folder, {"newer": True})
    (newer / "base").write_bytes(b"")
    index, meta = VectorIndex.load(folder, D)
    assert (meta, len(index)) == ({"offsets": {"0": 17}}, len(vectors))


def test_other_dimensions_are_refused(saved):
    """A snapshot of another length of vectors is refused and the message says so."""
    with pytest.raises(StateError, match="8 dimensions, not 9"):
        VectorIndex.load(saved[0], D + 1)
