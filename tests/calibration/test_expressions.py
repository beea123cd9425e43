"""Arithmetic in netlists comes out as ngspice has it."""

import pytest

from calibration.expressions import evaluate
from devices.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{2/freq}", 2e-6),
        ("10meg", 1e7),
        ("'-(1u+Freq*2n)**2'", -((1e-6 + 1e6 * 2e-9) ** 2)),
        ("2e-4", 2e-4),
        ("a1", 3.0),
    ],
)
def test_numbers_parameters_and_operators(text, value):
    assert evaluate(text, {"freq": 1e6, "a1": 3.0}) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["{2/frq}", "sin(1)", "1/0", "", "2 3", "1x"])
def test_anything_else_is_refused(text):
    with pytest.raises(InputError):
        evaluate(text, {"freq": 1e6})
