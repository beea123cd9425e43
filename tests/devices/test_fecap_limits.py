"""A film that there is not is refused, and one that cannot be followed comes to an end: nothing runs for ever."""

import numpy as np
import pytest

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.film import STEPS, charge_density
from bruno_spice.devices.fecap.limits import LIMITS

FILM = {"tfe": 10e-9, "eps": 40.0, "ps": 0.22, "tau0": 0.57e-6, "nmerz": 4.44, "ea": 1.65, "sigma_a": 0.17,
        "sigma_o": 0.185, "imprint": 0.0, "tdl": 0.0, "epsdl": 30.0, "s0": -1.0, "j1": 1e-2,
        "ej": 0.3, "tempk": 300.0}  # fmt: skip
"""models/fecap.lib."""
TIME_S = np.linspace(0.0, 1e-3, 101)
VOLTAGE_V = 3.0 * np.sin(2e3 * np.pi * TIME_S)


@pytest.mark.parametrize("name", list(FILM))
def test_a_value_beyond_its_limits_is_refused(name):
    assert np.isfinite(charge_density(TIME_S, VOLTAGE_V, FILM)).all()
    low, high = LIMITS[name]
    for value in (low - 1e-3 * abs(high), 2 * high, float("nan")):
        with pytest.raises(InputError, match=f"'{name}' lies between"):
            charge_density(TIME_S, VOLTAGE_V, {**FILM, name: value})


@pytest.mark.parametrize(
    "extreme", [{"ea": 1e-3, "tfe": 1e-10}, {"tau0": 1e-18, "tdl": 1e-9, "ps": 1000.0}, {"ea": 1e-3}]
)
def test_a_film_that_cannot_be_followed_is_told_after_some_steps(extreme):
    with pytest.raises(InputError, match=rf"after {STEPS:,} steps"):
        charge_density(TIME_S, 30 * VOLTAGE_V, {**FILM, **extreme})
