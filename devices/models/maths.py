"""The functions that laws are written with, on four kinds of numbers: NumPy's, torch's, and two kinds of machine code.

A law is a plain Python function that takes its mathematics from here, so that it runs as it stands on NumPy arrays.
`devices.ferroelectric.bound` binds the same text to the others. sympy reads it too (tests/devices/test_laws.py).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Number = Any
"""A float, or an array or tensor of them."""

exp: Callable[..., Any] = np.exp
expm1: Callable[..., Any] = np.expm1
log1p: Callable[..., Any] = np.log1p
tanh: Callable[..., Any] = np.tanh
power: Callable[..., Any] = np.power
absolute: Callable[..., Any] = np.abs
where: Callable[..., Any] = np.where
maximum: Callable[..., Any] = np.maximum
minimum: Callable[..., Any] = np.minimum

NAMES = ("exp", "expm1", "log1p", "tanh", "power", "absolute", "where", "maximum", "minimum")
