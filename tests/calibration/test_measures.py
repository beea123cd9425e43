import numpy as np
import pytest

from bruno_spice.calibration.circuits.measures import (
    energy_j,
    first_spike_and_period,
    forc_density,
    loop_numbers,
    pulse_charges,
    pund_numbers,
)
from bruno_spice.devices.errors import InputError


def hysteron_loop(ps=0.2, vc=1.0, shift=0.1, width=0.05, slope=0.01):
    voltage = np.concatenate([np.linspace(-3, 3, 2001), np.linspace(3, -3, 2001)[1:]])
    up = np.arange(voltage.size) <= 2000
    polarization = ps * np.tanh((voltage - shift - np.where(up, vc, -vc)) / width)
    return voltage, polarization + slope * voltage


def test_known_remanence_coercivity_and_imprint_are_found_again():
    found = loop_numbers(*hysteron_loop())
    assert found.pr_c_m2 == pytest.approx(0.2, rel=1e-3)
    assert found.vc_v == pytest.approx(1.0, abs=0.01)
    assert found.imprint_v == pytest.approx(0.1, abs=0.005)
    assert found.ps_c_m2 == pytest.approx(0.2, rel=1e-3)


def test_a_loop_that_never_crosses_zero_is_refused():
    voltage = np.linspace(0, 1, 50)
    with pytest.raises(InputError, match="never crosses zero"):
        loop_numbers(np.concatenate([voltage, voltage[::-1]]) + 1, np.concatenate([voltage, voltage[::-1]]))


def test_pulse_charge_is_the_difference_between_its_ends():
    time = np.linspace(0, 1, 11)
    np.testing.assert_allclose(pulse_charges(time, time, [0.15, 0.5], [0.45, 0.9]), [0.3, 0.4])


def test_first_spike_and_period():
    assert first_spike_and_period([1.0, 3.0, 4.5]) == (1.0, 1.75)
    assert np.isnan(first_spike_and_period([2.0])[1])
    assert np.isnan(first_spike_and_period([])[0])


def test_energy_is_voltage_times_current_over_time():
    assert energy_j([0, 1, 2], [3.0, 3.0, 3.0], [0.0, 1.0, 2.0], 0.5, 1.5) == pytest.approx(3.0)


def test_forc_density_of_a_single_hysteron_family_is_the_density_that_made_it():
    """P(Vr, V) = -2 integral of rho over hysterons still down; a constant rho gives rho back."""
    rho, reversal, voltage = 0.7, np.linspace(-1, 0, 21), np.linspace(-1, 1, 81)
    charge = -rho * (voltage[None, :] - reversal[:, None]) ** 2 * -1.0
    inner = forc_density(voltage, reversal, charge)[1:-1, 1:-1]
    np.testing.assert_allclose(inner, rho, rtol=1e-6)


def test_pulses_give_relaxed_remanences_and_what_switches_beside_what_does_not():
    """X U N D P of triangles without samples between; each remanence relaxes by a tenth in the pause before a pulse.

    A pulse ends nearer to 0 V than the next one begins.
    """
    ramp = np.concatenate([np.linspace(0, 2, 51), np.linspace(2, 0, 51)[1:]])
    signs, states = [1, 1, -1, -1, 1], [(-0.9, 1.0), (0.9, 1.0), (0.9, -1.0), (-0.9, -1.0), (-0.9, 1.0)]
    share = np.clip(np.linspace(0, 2, 101), 0, 1)
    time = np.concatenate([10.0 * k + np.linspace(0, 1, 101) for k in range(5)])
    voltage = np.concatenate([sign * (ramp + np.linspace(2e-3, 1e-3, 101)) for sign in signs])
    charge = np.concatenate([a + (b - a) * share + 0.2 * s * ramp for s, (a, b) in zip(signs, states, strict=True)])
    found = pund_numbers(time, voltage, charge)
    assert found.prrel_plus_c_m2 == pytest.approx(0.9)
    assert found.prrel_minus_c_m2 == pytest.approx(-0.9)
    assert found.p_minus_u_c_m2 == pytest.approx(1.9 - 0.1)
    assert found.n_minus_d_c_m2 == pytest.approx(1.9 - 0.1)
    assert pund_numbers(time[:202], voltage[:202], charge[:202]).p_minus_u_c_m2 is None


def test_a_loop_of_square_pulses_has_no_slope_to_read():
    voltage = np.array([-1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    with pytest.raises(InputError, match=r"no samples between 0\.3 and 0\.6 of its top"):
        loop_numbers(voltage, np.array([-1.0, -1.1, 0.9, 1.0, -0.9, -1.0]))
