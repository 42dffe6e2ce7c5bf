"""Rows come back as they were packed, or not at all."""

import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import StateError
from streams.rows import pack, unpack

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False)
)


@given(st.lists(SCALARS | st.dictionaries(st.integers(0, 2**48) | st.text(), SCALARS)))
def test_fields_come_back(fields):
    assert unpack(3, pack(3, tuple(fields))) == fields


@pytest.mark.parametrize("vector", [np.array([], "f4"), np.array([1.5, -0.0, np.inf], "f4")])
def test_vectors_come_back_to_the_bit_and_read_only(vector):
    (found,) = unpack(1, pack(1, (vector,)))
    assert found.dtype == np.float32
    assert found.tobytes() == vector.tobytes()
    assert not found.flags.writeable


def test_only_what_a_reader_understands_is_packed():
    with pytest.raises(TypeError, match="a row cannot hold a set"):
        pack(1, ({1},))
    with pytest.raises(TypeError, match="a row cannot hold a ndarray"):
        pack(1, (np.zeros(2),))
    assert unpack(1, pack(1, ("a failed pack leaves nothing behind",))) == [
        "a failed pack leaves nothing behind"
    ]


def test_another_version_is_never_guessed_at():
    with pytest.raises(StateError, match="version 2, this code reads 1; rebuild"):
        unpack(1, pack(2, ("a",)))


@pytest.mark.parametrize(
    "row",
    [
        b"",
        b"\xc1",
        b"\x01",
        b"\x90",
        b"\x80",
        b"\xa1a",
        msgpack.packb([1, msgpack.ExtType(9, b"")]),
        b"\x92\x01",
    ],
)
def test_what_is_no_row_says_so(row):
    with pytest.raises(StateError):
        unpack(1, row)


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_but_a_state_error(data):
    with contextlib.suppress(StateError):
        unpack(1, data)
