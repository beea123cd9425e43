"""HERACLES as a neuron card describes it, in SI units, written apart from the laws that are tested against it.

    dp/dt      = k+ (1 - p) - k- (1 + p)              p in [-1, 1], k+- no faster than e^11.5 a millisecond
    C dV_fe/dt = I_in - I_leak(V) - A Ps dp/dt        V = V(V_fe, p) as tests/support/heracles_reference.py has it
    C          = A C_fe + C_par (v_threshold - v_reset)/(V_fe there, switched - V_fe at the reset)

with the circuit of tests/support/felif_equations.py around it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bruno_spice.devices.ferroelectric.neuron import NeuronParameters
from tests.support.heracles_reference import Capacitor

Array = NDArray[np.float64]
FASTEST_HZ = 1e3 * np.exp(11.5)


def capacitor(x: NeuronParameters) -> Capacitor:
    """The reference's capacitor with the card's values."""
    return Capacitor(
        x.area, x.thickness_fe, x.eps_fe, x.saturation_polarization, x.barrier, x.switching_distance, x.offset_field,
        x.depletion_density, x.eps_depletion, x.fixed_charge, x.thickness_int, x.eps_int, x.temperature,
    )  # fmt: skip


def derivatives(v_fe: ArrayLike, p: ArrayLike, i_syn_a: ArrayLike, x: NeuronParameters) -> tuple[Array, Array]:
    """dV_fe/dt (n,) in V/s and dp/dt (n, 1) in 1/s at V_fe (n,) in V, p (n, 1) and currents (n,) in A."""
    device = capacitor(x)
    v_fe, down, i_syn_a = np.asarray(v_fe, float), np.asarray(p, float)[:, 0], np.asarray(i_syn_a, float)
    towards, away = np.minimum(np.array([device.rates_hz(each) for each in v_fe]).T, FASTEST_HZ)
    dp_dt = towards * (1.0 - down) - away * (1.0 + down)
    v = np.array([device.voltage(*state) for state in zip(v_fe, 0.5 * (1.0 + down), strict=True)])
    leak = x.leak_density * x.area * np.expm1(np.abs(v) / x.leak_v_scale) * np.sign(v)
    leak = leak + x.leak_discharge * np.tanh(v / x.leak_v_smooth)
    headroom = (v - x.v_floor) / x.v_compliance
    compliance = np.where(headroom >= 0.0, -np.expm1(-np.maximum(headroom, 0.0)), headroom)
    i_in = np.where(i_syn_a < 0.0, i_syn_a * compliance, i_syn_a)
    reset = device.v_fe_at(x.v_reset, 0.5 * (1.0 + x.polarization_reset))
    swing = (x.v_threshold - x.v_reset) / (device.v_fe_at(x.v_threshold, 1.0) - reset)
    c_total = x.area * device.c_fe_f_m2 + x.c_parallel * swing
    return (i_in - leak - x.area * x.saturation_polarization * dp_dt) / c_total, dp_dt[:, None]
