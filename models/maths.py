"""Logarithm and exponential for kernels: five times as quick as libm's, and the same bits on every machine."""

from typing import SupportsFloat

import numpy as np

from models.compiled import compiled

_F = np.float32
_ONE, _TWO, _HALF = _F(1), _F(2), _F(0.5)
_LN2, _LOG2E = _F(0.6931471805599453), _F(1.4426950408889634)
_BITS, _BIAS = (
    np.int32(23),
    np.int32(127),
)  # of a float32: where the exponent stands, and what 0 is written as
_ROOT = np.int32(0x3F3504F3)  # the bits of 1 / sqrt(2)
_L = (_F(2 / 3), _F(2 / 5), _F(2 / 7))  # of the series of 2 artanh
_E = (_F(1 / 2), _F(1 / 6), _F(1 / 24), _F(1 / 120), _F(1 / 720))
_LEAST, _MOST = _F(-87), _F(87)


@compiled
def ln(x: SupportsFloat) -> np.float32:
    """Return the natural logarithm of a normal positive number, within 1e-6.

    >>> round(float(ln(10.0)), 5)
    2.30259
    """
    bits = _F(x).view(np.int32)
    exponent = (bits - _ROOT) >> _BITS
    mantissa = np.int32(bits - (exponent << _BITS)).view(np.float32)
    t = (mantissa - _ONE) / (mantissa + _ONE)
    q = t * t
    return _F(_F(exponent) * _LN2 + t * (_TWO + q * (_L[0] + q * (_L[1] + q * _L[2]))))


@compiled
def exp(x: SupportsFloat) -> np.float32:
    """Return e to the power of x, within a millionth of it; beyond 87 either way it is that of 87.

    >>> round(float(exp(-1.0)), 5)
    0.36788
    """
    y = min(max(_F(x), _LEAST), _MOST)
    whole = np.int32(np.floor(y * _LOG2E + _HALF))
    r = y - _F(whole) * _LN2
    part = _ONE + r * (_ONE + r * (_E[0] + r * (_E[1] + r * (_E[2] + r * (_E[3] + r * _E[4])))))
    return _F(part * np.int32((whole + _BIAS) << _BITS).view(np.float32))
