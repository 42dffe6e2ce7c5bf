"""A version serves as its kind says."""

import pytest

from models.rankers import ranker_of
from streams.errors import StateError
from tests.models.test_blended import blended, recorded


def test_a_version_serves_as_its_kind_says():
    data = blended().pack()
    assert ranker_of(recorded(data), data).pack() == data
    with pytest.raises(StateError, match=r"the artifact is 'sequence', recorded is 'boosted'"):
        ranker_of(recorded(data, kind="boosted"), data)
    with pytest.raises(
        StateError, match=r"sequence@\w+ cannot be served: a model of kind 'vectors' ranks nothing"
    ):
        ranker_of(recorded(data, kind="vectors"), data)
