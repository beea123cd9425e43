"""An implicit Euler step of a block of neurons backward, in single-precision SIMD: `training.dynamics.step_back`.

mu_V (1 + h l) = lam_V + h K_CAP S,       mu_k = lam_k - h r_k d_k - h w_k (K_POL S + m mu_V)
d_k = mu_k - b_k mu_V,   S = sum_k s_k d_k,   dL/dI = h mu_V df_V/dI
"""

# mypy: allow-untyped-defs

from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.lanes.rows import (
    AT_START,
    AT_V,
    BLOCK,
    BY_I,
    GAIN,
    I_A,
    KEPT,
    PART,
    PER_P,
    PER_V,
    POLARIZATION,
    RATE_SUM,
    SLOPE,
    TAKEN,
    WEIGHT,
    WHOLE,
    H,
    V,
    domain_row,
)
from bruno_spice.devices.ferroelectric.lanes.vector_math import ONE, ZERO, F, larger
from bruno_spice.devices.ferroelectric.simd.flow import field, switching
from bruno_spice.devices.ferroelectric.simd.substep import at_membrane
from bruno_spice.devices.models.rows import DRIVE, K_CAP, K_POL, V_PER_P


@template(simd=True)
def implicit_back(w, domains, lam_v, lam_p):
    """The rows `lam_v` and `lam_p` of adjoints at V and P, the end of a step of H ms from V = AT_START under I_A,
    become those before it; BY_I = dL/dI."""
    if law.TERMINAL:
        at_membrane(w, domains)
    field(w, domains)
    for j in range(BLOCK):
        drive, i_a = w[DRIVE * BLOCK + j], w[I_A + j]
        v = w[AT_V + j] if law.TERMINAL else w[V + j]
        middle, per_middle = F(0.5) * (w[AT_START + j] + w[V + j]), ONE
        if law.TERMINAL:
            per_middle = law.terminal_slope(middle, w[POLARIZATION + j], w, 0, j)
            middle = law.terminal(middle, w[POLARIZATION + j], w, 0, j)
        slope = law.leak_slope(middle, w, 0, j) * per_middle
        pulled = i_a * law.compliance_slope(v, w, 0, j) if i_a < ZERO else ZERO
        slope -= pulled * (w[PER_V + j] if law.TERMINAL else ONE)
        loss = w[H + j] * drive * slope
        w[BY_I + j] = w[H + j] * drive * (law.compliance(v, w, 0, j) if i_a < ZERO else ONE)
        w[PER_P + j] = loss * law.terminal_by_p(w[V + j], w[POLARIZATION + j], w, 0, j) if law.TERMINAL else ZERO
        w[WHOLE + j] = ONE / (ONE + loss)
        w[RATE_SUM + j] = ZERO
        w[SLOPE + j] = ZERO
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            _, size, rate, left = switching(w, row, j)
            by_field = rate * larger(left * law.steepness(size, w, row, j) - law.back_slope(size, w, row, j), ZERO)
            held = ONE / (ONE + w[H + j] * rate)
            seen = (w[V_PER_P * BLOCK + j] + w[PER_P + j]) * w[WEIGHT + row + j] * w[WHOLE + j]
            alone = held * (w[lam_p + row + j] - seen * w[lam_v + j])
            by_all = held * w[H + j] * (w[K_POL * BLOCK + j] * w[WEIGHT + row + j] + seen * w[K_CAP * BLOCK + j])
            w[KEPT + row + j] = alone
            w[GAIN + row + j] = by_all
            w[RATE_SUM + j] += by_field * alone
            w[SLOPE + j] += by_field * by_all
    for j in range(BLOCK):
        common = w[RATE_SUM + j] / (ONE + w[SLOPE + j])
        mu_v = w[WHOLE + j] * (w[lam_v + j] + w[H + j] * w[K_CAP * BLOCK + j] * common)
        w[TAKEN + j] = common
        w[lam_v + j] = mu_v
        w[BY_I + j] *= mu_v
        w[PART + j] = w[V_PER_P * BLOCK + j] * mu_v
    for k in range(domains):
        row = domain_row(k)
        for j in range(BLOCK):
            mu = w[KEPT + row + j] - w[GAIN + row + j] * w[TAKEN + j] + w[WEIGHT + row + j] * w[PART + j]
            w[lam_p + row + j] = mu
