"""A neuron in compiled scalar float64: the right-hand side, one Rosenbrock step, and a whole transient.

Units inside the kernels are ms, V and V/nm; a current enters as A and is turned into V/ms by DRIVE. `constants`
is one flat array, ordered as `devices.models.rows` says.

Each domain sees the others only through the common field E, so W = 1/(gamma h) - J is a diagonal plus rank one,
and a stage of the Rosenbrock method costs O(K).

    RODAS (Hairer & Wanner, Solving ODEs II, section IV.7): order 4(3), stiffly accurate, L-stable.

A rate whose exponent passes 600 is zero here (the smallest double is e^-745).
"""

# mypy: allow-untyped-defs
import math

import numpy as np

from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.models.rows import (
    DOMAINS_FROM,
    DRIVE,
    K_CAP,
    K_POL,
    OFFSET,
    P_RESET,
    SMALLEST,
    T_REFRACTORY,
    V_PER_P,
    V_RESET,
    V_THRESHOLD,
    WEIGHT,
)

SHORTEST_STEP_MS = 1e-12
MOST_STEPS, MOST_STEPS_PER_MS = 1e6, 1e4
"""Of a transient: a neuron takes some hundred a millisecond, one that no device could be takes any number."""
GAMMA = 0.25

# RODAS in the form of Hairer & Wanner's code:
#     (1/(gamma h) - J) U_i = f(y + sum_j A_ij U_j) + sum_j C_ij U_j / h,  y' = y + sum_j A_6j U_j + U_6,  error = U_6.
A = np.zeros((6, 6))
A[1, :1] = [1.544]
A[2, :2] = [0.9466785280815826, 0.2557011698983284]
A[3, :3] = [3.314825187068521, 2.896124015972201, 0.9986419139977817]
A[4, :4] = [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950]
A[5, :5] = [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 1.0]
C = np.zeros((6, 6))
C[1, :1] = [-5.6688]
C[2, :2] = [-2.430093356833875, -0.2063599157091915]
C[3, :3] = [-0.1073529058151375, -9.594562251023355, -20.47028614809616]
C[4, :4] = [7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160]
C[5, :5] = [8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054]
STAGE_TIME = np.array([0.0, 0.386, 0.21, 0.63, 1.0, 1.0])
STAGE_SLOPE = np.array([0.25, -0.1043, 0.1035, -0.0362, 0.0, 0.0])


@template(inline=True)
def weights(c, domains):
    """The shares of the domains (K,) among the rows `c` of a neuron."""
    return c[DOMAINS_FROM + WEIGHT * domains : DOMAINS_FROM + (WEIGHT + 1) * domains]


@template(inline=True)
def polarization_of(p, c):
    """sum_k w_k p_k."""
    weight, total = weights(c, p.size), 0.0
    for k in range(p.size):
        total += weight[k] * p[k]
    return total


@template()
def rates(v, p, i_a, c, dp, gain, rate):
    """Right-hand side at one state, per ms: returns (dV/dt, d(I_in - I_leak)/dV, I_in / i_a), all over C.

    Fills the (K,) arrays: dp/dt, gain = d(dp/dt)/dE, rate = -d(dp/dt)/dp.
    """
    domains = p.size
    weight, polarization = weights(c, domains), polarization_of(p, c)
    common = c[K_CAP] * v - c[K_POL] * polarization
    p_flow = 0.0
    for k in range(domains):
        field = common - c[DOMAINS_FROM + OFFSET * domains + k]
        sign = 1.0 if field >= 0.0 else -1.0
        bare = law.softened(abs(field), c, k, domains)
        size = max(bare, c[DOMAINS_FROM + SMALLEST * domains + k])
        left = 1.0 - sign * p[k] - law.back(size, c, k, domains)
        rate[k] = math.exp(law.ln_rate(size, c, k, domains))
        gain[k] = 0.0
        if bare >= size:
            gain[k] = rate[k] * (left * law.steepness(size, c, k, domains) - law.back_slope(size, c, k, domains))
        dp[k] = sign * left * rate[k]
        p_flow += weight[k] * dp[k]
    at_membrane, per_v = v, 1.0
    if law.TERMINAL:
        at_membrane = law.terminal(v, polarization, c, 0, domains)
        per_v = law.terminal_slope(v, polarization, c, 0, domains)
    drive = c[DRIVE]
    slope = -drive * law.leak_slope(at_membrane, c, 0, domains) * per_v
    i_in = drive
    if i_a < 0.0:
        slope += drive * i_a * law.compliance_slope(at_membrane, c, 0, domains) * per_v
        i_in *= law.compliance(at_membrane, c, 0, domains)
    return i_in * i_a - drive * law.leak(at_membrane, c, 0, domains) - c[V_PER_P] * p_flow, slope, i_in


@template()
def solve(shift, slope, gain, rate, c, right_v, right_p):
    """Solve (shift - J) x = right in place for x_p (in `right_p`), and return x_V."""
    domains = right_p.size
    weight = weights(c, domains)
    kept, coupled, flow = 0.0, 0.0, 0.0
    for k in range(domains):
        inverse = 1.0 / (shift + rate[k])
        kept += weight[k] * right_p[k] * inverse
        coupled += weight[k] * gain[k] * inverse
        flow += weight[k] * right_p[k]
    inverse_v = 1.0 / (shift - slope)
    k_cap, k_pol, v_per_p = c[K_CAP], c[K_POL], c[V_PER_P]
    x_field = k_cap * inverse_v * (right_v + v_per_p * (flow - shift * kept)) - k_pol * kept
    x_field /= 1.0 + coupled * (k_pol + k_cap * v_per_p * shift * inverse_v)
    x_v = (right_v + v_per_p * (flow - shift * (kept + coupled * x_field))) * inverse_v
    for k in range(domains):
        right_p[k] = (right_p[k] + gain[k] * x_field) / (shift + rate[k])
    return x_v


@template()
def rosenbrock_step(v, p, i_a, ramp_a, h, rtol, constants, work, u, p_new, dp):
    """One RODAS step of `h` ms under i_a + ramp_a t. Returns (V, error / tolerance); fills p_new.

    `work` (6, 2 + 2 K) receives slope, drive, gain and rate of each stage, `u` (6, 1 + K) the stages; dp (K,) is
    scratch.
    """
    domains = p.size
    gain, rate = work[0, 2 : 2 + domains], work[0, 2 + domains :]
    shift = 1.0 / (GAMMA * h)
    dv, slope, drive = rates(v, p, i_a, constants, dp, gain, rate)
    work[0, 0], work[0, 1] = slope, drive
    v_s = v
    for stage in range(6):
        if stage > 0:
            v_s = v
            for k in range(domains):
                p_new[k] = p[k]
            for j in range(stage):
                v_s += A[stage, j] * u[j, 0]
                for k in range(domains):
                    p_new[k] += A[stage, j] * u[j, 1 + k]
            i_s = i_a + STAGE_TIME[stage] * h * ramp_a
            here = work[stage]
            dv, here[0], here[1] = rates(v_s, p_new, i_s, constants, dp, here[2 : 2 + domains], here[2 + domains :])
        dv += STAGE_SLOPE[stage] * h * drive * ramp_a
        for j in range(stage):
            dv += C[stage, j] / h * u[j, 0]
            for k in range(domains):
                dp[k] += C[stage, j] / h * u[j, 1 + k]
        u[stage, 0] = solve(shift, slope, gain, rate, constants, dv, dp)
        for k in range(domains):
            u[stage, 1 + k] = dp[k]
    v_new = v_s + u[5, 0]
    error = abs(u[5, 0]) / (rtol * (1.0 + max(abs(v), abs(v_new))))
    for k in range(domains):
        p_new[k] += u[5, 1 + k]
        error = max(error, abs(u[5, 1 + k]) / rtol)
    return v_new, error


@template()
def transient(constants, corner_ms, corner_a, time_ms, v_start, p_start, rtol):
    """One neuron under the piecewise linear current (corner_ms, corner_a), sampled at time_ms (n,).

    Returns V (n,), p (n, K), spike times in ms and their number (-1: the step underflowed at the first of the times).
    """
    domains = p_start.size
    work, u = np.empty((6, 2 + 2 * domains)), np.empty((6, 1 + domains))
    p, p_new, dp = p_start.copy(), np.empty(domains), np.empty(domains)
    flow, flow_new, spare = np.empty(domains), np.empty(domains), np.empty((2, domains))
    v_out, p_out = np.empty(time_ms.size), np.empty((time_ms.size, domains))
    spikes = np.empty(64)
    count, sample, corner = 0, 0, 0
    threshold, v = constants[V_THRESHOLD], v_start
    t, h = corner_ms[0], 1e-3
    end = corner_ms[-1]
    left = MOST_STEPS + MOST_STEPS_PER_MS * (end - t)
    while t < end:
        left -= 1.0
        while corner < corner_ms.size - 2 and t >= corner_ms[corner + 1]:
            corner += 1
        ramp = (corner_a[corner + 1] - corner_a[corner]) / (corner_ms[corner + 1] - corner_ms[corner])
        i_a = corner_a[corner] + ramp * (t - corner_ms[corner])
        room = corner_ms[corner + 1] - t
        tried = h
        last = tried >= room * (1.0 - 1e-9)
        if last:
            tried = room
        v_new, error = rosenbrock_step(v, p, i_a, ramp, tried, rtol, constants, work, u, p_new, dp)
        if v_new != v_new:
            error = math.inf
        if not error <= 1.0:
            h = tried * (max(0.2, 0.9 * error**-0.25) if error < 1e300 else 0.2)
            if h < SHORTEST_STEP_MS or not left > 0.0:
                spikes[0] = t
                return v_out, p_out, spikes, -1
            continue
        grown = tried * min(5.0, 0.9 * (error + 1e-12) ** -0.25)
        fired = v_new >= threshold
        if fired:
            tried, v_new = to_threshold(v, p, i_a, ramp, tried, v_new, rtol, constants, work, u, p_new, dp)
        arrived = corner_ms[corner + 1] if last and not fired else t + tried
        if not (arrived > t and left > 0.0):
            spikes[0] = t
            return v_out, p_out, spikes, -1

        dv, _, _ = rates(v, p, i_a, constants, flow, spare[0], spare[1])
        dv_new, _, _ = rates(v_new, p_new, i_a + ramp * tried, constants, flow_new, spare[0], spare[1])
        while sample < time_ms.size and time_ms[sample] < arrived:
            s = (time_ms[sample] - t) / tried
            v_out[sample] = hermite(s, tried, v, v_new, dv, dv_new)
            for k in range(domains):
                p_out[sample, k] = hermite(s, tried, p[k], p_new[k], flow[k], flow_new[k])
            sample += 1
        t, v, h = arrived, v_new, max(grown, h if last else 0.0)
        for k in range(domains):
            p[k] = p_new[k]
        if fired:
            if count == spikes.size:
                spikes = np.concatenate((spikes, np.empty(count)))
            spikes[count] = t
            count += 1
            t, v, h = t + constants[T_REFRACTORY], constants[V_RESET], 1e-3
            p[:] = constants[P_RESET]
            while sample < time_ms.size and time_ms[sample] < t:
                v_out[sample] = v
                p_out[sample] = p
                sample += 1
    v_out[sample:] = v
    p_out[sample:] = p
    return v_out, p_out, spikes, count


@template()
def to_threshold(v, p, i_a, ramp, h, v_end, rtol, constants, work, u, p_new, dp):
    """Shorten a step that overshoots v_threshold until it ends there: (h, V), p_new filled. Illinois iteration."""
    threshold = constants[V_THRESHOLD]
    low, over_low, high, over_high = 0.0, v - threshold, h, v_end - threshold
    tried, v_new, side = h, v_end, 0
    for _ in range(60):
        if abs(v_new - threshold) <= 1e-13 * (1.0 + abs(threshold)):
            break
        tried = (low * over_high - high * over_low) / (over_high - over_low)
        v_new, _ = rosenbrock_step(v, p, i_a, ramp, tried, rtol, constants, work, u, p_new, dp)
        if v_new < threshold:
            low, over_low = tried, v_new - threshold
            over_high *= 0.5 if side < 0 else 1.0
            side = -1
        else:
            high, over_high = tried, v_new - threshold
            over_low *= 0.5 if side > 0 else 1.0
            side = 1
    return tried, v_new


@template()
def hermite(s, h, y0, y1, f0, f1):
    """Cubic through (y0, f0) at s = 0 and (y1, f1) at s = 1 of a step of length h."""
    bent = (1.0 - 2.0 * s) * (y1 - y0) + h * ((s - 1.0) * f0 + s * f1)
    return y0 + s * (y1 - y0) + s * (s - 1.0) * bent
