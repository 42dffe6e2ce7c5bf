import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.maths import exp, ln


@given(st.floats(1e-30, 1e30))
def test_the_logarithm_is_that_of_math(x):
    assert ln(x) == pytest.approx(math.log(x), abs=1e-5, rel=1e-6)


@given(st.floats(-87, 87))
def test_the_exponential_is_that_of_math(x):
    assert exp(x) == pytest.approx(math.exp(x), rel=2e-5)


def test_powers_out_of_reach_are_the_last_within_it():
    assert exp(1e9) == exp(87.0)
    assert exp(-1e9) == exp(-87.0) > 0
