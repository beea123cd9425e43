"""The laws of a ferroelectric neuron: what every model shares, and what a model says for itself.

    dp_k/dt = up_k (1 - p_k) - down_k (1 + p_k)                    switching, E_k = E - Eoff_k
            = sign(E_k) r_k (|sign(E_k) - p_k| - d_k),             r = up + down,  d = 2 back/r
    dV/dt   = DRIVE (I_in - I_leak) - V_PER_P sum_k w_k dp_k/dt    charge on the membrane
    E       = K_CAP V - K_POL sum_k w_k p_k                        field in the film
    spike where V crosses V_THRESHOLD; then V = V_RESET, p_k = P_RESET, held for T_REFRACTORY

V is the voltage of the film. What else lies in series with it adds to the voltage at the membrane, `terminal`, which
leak and mirrors see; thresholds are those of the film, where all of it is switched, and after a reset. In ms, V, V/nm
and A. Laws are text (`devices.models.maths`): one spelling, which serves NumPy, torch, and
compiled code in double and single precision. `x` is a row of constants by name (`devices.models.rows`). A model
is a class (`devices.models.model.NeuronModel`) with the laws of the second part as static methods; those that it
leaves out are as they stand here. Those of the first part are the circuit's around the film and the same for all.
"""

from bruno_spice.devices.models.maths import Number, exp, expm1, maximum, minimum, tanh, where

MOST_LEAK_E_FOLDS = 42.0
"""Of the leak: what single precision holds."""


# ---- the circuit around the film


def leak(v: Number, x: Number) -> Number:
    """I_leak in A: ohmic above, e-folds of |V| beyond it, and the discharge transistor, which turns around at 0 V.

    LEAK (e^(PER_V |V|) - 1) sign(V) + DISCHARGE tanh(PER_V_SMOOTH V), PER_V = PER_V_LEAK above 0 V, PER_V_LEAK_BELOW
    below.
    """
    per_v = where(v >= 0.0, x.per_v_leak, -x.per_v_leak_below)
    sign = where(v >= 0.0, 1.0, -1.0)
    return sign * x.leak * expm1(minimum(v * per_v, MOST_LEAK_E_FOLDS)) + x.discharge * tanh(v * x.per_v_smooth)


def leak_slope(v: Number, x: Number) -> Number:
    """d leak/dV in A/V."""
    per_v = where(v >= 0.0, x.per_v_leak, -x.per_v_leak_below)
    rise = where(v >= 0.0, per_v, -per_v)
    smooth_sign = tanh(v * x.per_v_smooth)
    grown = rise * x.leak * exp(minimum(v * per_v, MOST_LEAK_E_FOLDS))
    return grown + x.discharge * x.per_v_smooth * (1.0 - smooth_sign * smooth_sign)


def leak_bend(v: Number, x: Number) -> Number:
    """d^2 leak/dV^2 in A/V^2."""
    per_v = where(v >= 0.0, x.per_v_leak, -x.per_v_leak_below)
    sign = where(v >= 0.0, 1.0, -1.0)
    smooth_sign = tanh(v * x.per_v_smooth)
    grown = sign * per_v * per_v * x.leak * exp(minimum(v * per_v, MOST_LEAK_E_FOLDS))
    turned = x.per_v_smooth * x.per_v_smooth * smooth_sign * (1.0 - smooth_sign * smooth_sign)
    return grown - 2.0 * x.discharge * turned


def compliance(v: Number, x: Number) -> Number:
    """What is left of an inhibiting current: 1 - e^-u above the floor, u below; u = (V - V_FLOOR) PER_V_COMPLIANCE.

    The sub-threshold law of the mirror's transistor.
    """
    u = (v - x.v_floor) * x.per_v_compliance
    return where(u >= 0.0, -expm1(-maximum(u, 0.0)), u)


def compliance_slope(v: Number, x: Number) -> Number:
    """d compliance/dV in 1/V."""
    u = (v - x.v_floor) * x.per_v_compliance
    return x.per_v_compliance * exp(-maximum(u, 0.0))


def compliance_bend(v: Number, x: Number) -> Number:
    """d^2 compliance/dV^2 in 1/V^2: none below the floor, where it is linear."""
    u = (v - x.v_floor) * x.per_v_compliance
    return where(u >= 0.0, -x.per_v_compliance * x.per_v_compliance * exp(-maximum(u, 0.0)), 0.0)


# ---- the film: what a model says


def softened(size: Number, x: Number) -> Number:
    """The field that switching sees, from |E_k| = `size`, both in V/nm; below x.smallest nothing changes any more."""
    return size


def ln_rate(size: Number, x: Number) -> Number:
    """ln of r = up + down, r in 1/ms, at the softened field `size`."""
    raise NotImplementedError("a neuron model says how its film switches")


def steepness(size: Number, x: Number) -> Number:
    """d ln r/d size in nm/V."""
    raise NotImplementedError("a neuron model says how its film switches")


def steepness_slope(size: Number, x: Number) -> Number:
    """d steepness/d size in nm^2/V^2."""
    raise NotImplementedError("a neuron model says how its film switches")


def chord(size: Number, ahead: Number, x: Number) -> Number:
    """About the mean steepness between `size` and a larger field `ahead`, and never e-folds above it, in units of that
    at `size`.

    Where ln r is concave its slope at a small field promises a rate that is too large by orders of magnitude.
    """
    return 1.0


def back(size: Number, x: Number) -> Number:
    """d: how far from saturation the two directions are in balance, 0 where none switches against the field."""
    return 0.0


def back_slope(size: Number, x: Number) -> Number:
    """dd/d size in nm/V."""
    return 0.0


TERMINAL = False
"""Whether something lies in series with the film; a model that has it brings `terminal` and its slope."""


def terminal(v: Number, polarization: Number, x: Number) -> Number:
    """Voltage at the membrane, which leak and mirrors see, from the film's `v` and sum_k w_k p_k."""
    return v


def terminal_slope(v: Number, polarization: Number, x: Number) -> Number:
    """d terminal/dv at constant polarization."""
    return 1.0


def terminal_by_p(v: Number, polarization: Number, x: Number) -> Number:
    """d terminal/d polarization at constant v, over `terminal_slope`."""
    return 0.0
