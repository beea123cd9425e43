"""A neuron over one macro step (1 ms) at constant current, many neurons, float64: adaptive Rosenbrock and 1 us Euler.

    S = d(V, p)/d(V_0, p_0, I):    dS/dt = J S + (0, ..., 0 | f_I)        (variational equation)

The tangents of a Rosenbrock step come from the step applied to the equation and its variation together, second
derivatives of f included, so they are the exact derivative of the numerical solution with the step sizes held.
Those of an Euler step are exact too. An Euler step never oversteps an equilibrium: dt/tau is limited to 1,
the leak to what brings V to 0, inhibition to what brings V to the floor.

Spikes, in both kernels:

- macro reset: a neuron that reaches threshold stays there until the macro step ends, then it is reset (BRUNO's training
  rule).
- event reset: reset at the crossing, held for T_REFRACTORY (what is left goes on into the next macro step),
  then integrated on; several spikes a millisecond are possible, `spikes` counts them.

Arrays: v, hold, i_a, spikes (n,), p (K, n); `constants` (m, R) with m = 1 or one row a neuron, neuron j % m.
`seen` (1 + K, n): state at the first crossing, or at the end where none happened; there the surrogate looks.
`tangents` (1 + K, 2 + K, n): derivative of `seen` at a fixed time; `late` (2 + K, n), after a spike: derivative by I of
the final state at a fixed last release, and of the time in ms from the first crossing to the last,

    t' = t - (dV/dI) / (dV/dt)    at each crossing, dV/dI at a fixed release before it;

`lead_ms` (n,): time integrated up to `seen`; `free_ms` (n,): since the last reset. Each kernel works on neurons
start <= j < stop.
"""

# mypy: allow-untyped-defs
import math

import numpy as np

from bruno_spice.devices.ferroelectric.bound import law, template
from bruno_spice.devices.ferroelectric.scalar.rosenbrock import (
    GAMMA,
    A,
    C,
    polarization_of,
    rates,
    rosenbrock_step,
    solve,
    to_threshold,
    weights,
)
from bruno_spice.devices.models.rows import (
    DOMAINS_FROM,
    DRIVE,
    K_CAP,
    K_POL,
    OFFSET,
    P_RESET,
    SMALLEST,
    T_REFRACTORY,
    V_FLOOR,
    V_PER_P,
    V_RESET,
    V_THRESHOLD,
)

MACRO_MS = 1.0
SHORTEST_STEP_MS = 1e-10
MOST_STEPS = 100_000
"""Of the adaptive solver in a macro step; a neuron that has not arrived by then is not a number."""
FIRST_STEP_MS = 1e-2


@template(inline=True)
def put(to, values):
    """to = values, (n,) both; numba's own assignment compiles the sentence of a wrong shape, too, for seconds."""
    for k in range(to.size):
        to[k] = values[k]


@template()
def curvature(v, p, i_a, constants, gain, rate, bend, mixed):
    """Second derivatives at one state: returns those of (I_in - I_leak) by V, V and by V, I; fills those of dp/dt.

    `bend` (K,) by E, E; `mixed` (K,) by E, p with the sign turned.
    """
    domains = p.size
    polarization = polarization_of(p, constants)
    common = constants[K_CAP] * v - constants[K_POL] * polarization
    for k in range(domains):
        field = common - constants[DOMAINS_FROM + OFFSET * domains + k]
        sign = 1.0 if field >= 0.0 else -1.0
        size = max(law.softened(abs(field), constants, k, domains), constants[DOMAINS_FROM + SMALLEST * domains + k])
        bend[k], mixed[k] = 0.0, 0.0
        if gain[k] != 0.0:
            left = 1.0 - sign * p[k] - law.back(size, constants, k, domains)
            steep = law.steepness(size, constants, k, domains)
            bend[k] = steep * gain[k] + rate[k] * left * law.steepness_slope(size, constants, k, domains)
            bend[k] -= rate[k] * steep * law.back_slope(size, constants, k, domains)
            bend[k] *= sign
            mixed[k] = sign * rate[k] * steep
    at_membrane, per_v = v, 1.0
    if law.TERMINAL:
        at_membrane = law.terminal(v, polarization, constants, 0, domains)
        per_v = law.terminal_slope(v, polarization, constants, 0, domains)
    drive = constants[DRIVE]
    slope_v = -drive * law.leak_bend(at_membrane, constants, 0, domains) * per_v * per_v
    drive_v = 0.0
    if i_a < 0.0:
        drive_v = drive * law.compliance_slope(at_membrane, constants, 0, domains) * per_v
        slope_v += drive * i_a * law.compliance_bend(at_membrane, constants, 0, domains) * per_v * per_v
    return slope_v, drive_v


@template()
def rosenbrock_tangents(v, p, i_a, h, constants, work, u, s, stages, second, right):
    """Carry the tangents s (1 + K, 2 + K) through the step that left `work` and `u` (`rosenbrock_step`).

    Scratch: stages (6, 1 + K), second (2, K), right (K,).
    """
    domains = p.size
    weight = weights(constants, domains)
    shift = 1.0 / (GAMMA * h)
    gain, rate = work[0, 2 : 2 + domains], work[0, 2 + domains :]
    bend, mixed = second[0], second[1]
    slope_v, drive_v = curvature(v, p, i_a, constants, gain, rate, bend, mixed)
    by_p = 0.0
    if law.TERMINAL:
        by_p = law.terminal_by_p(v, polarization_of(p, constants), constants, 0, domains)
    k_cap, k_pol, v_per_p = constants[K_CAP], constants[K_POL], constants[V_PER_P]
    for column in range(s.shape[1]):
        by_current = column == s.shape[1] - 1
        s_field = k_cap * s[0, column]
        for k in range(domains):
            s_field -= k_pol * weight[k] * s[1 + k, column]
        for stage in range(6):
            at_v = s[0, column]
            for j in range(stage):
                at_v += A[stage, j] * stages[j, 0]
            at_field, u_field = k_cap * at_v, k_cap * u[stage, 0]
            for k in range(domains):
                at_p = s[1 + k, column]
                for j in range(stage):
                    at_p += A[stage, j] * stages[j, 1 + k]
                right[k] = at_p
                at_field -= k_pol * weight[k] * at_p
                u_field -= k_pol * weight[k] * u[stage, 1 + k]
            right_v = work[stage, 0] * at_v + slope_v * s[0, column] * u[stage, 0]
            if law.TERMINAL:
                for k in range(domains):
                    right_v += work[stage, 0] * by_p * weight[k] * right[k]
            if by_current:
                right_v += work[stage, 1] + drive_v * u[stage, 0]
            for k in range(domains):
                flow = work[stage, 2 + k] * at_field - work[stage, 2 + domains + k] * right[k]
                flow += bend[k] * s_field * u_field
                flow -= mixed[k] * (s_field * u[stage, 1 + k] + s[1 + k, column] * u_field)
                right_v -= v_per_p * weight[k] * flow
                for j in range(stage):
                    flow += C[stage, j] / h * stages[j, 1 + k]
                right[k] = flow
            for j in range(stage):
                right_v += C[stage, j] / h * stages[j, 0]
            stages[stage, 0] = solve(shift, work[0, 0], gain, rate, constants, right_v, right)
            for k in range(domains):
                stages[stage, 1 + k] = right[k]
        for row in range(1 + domains):
            moved = stages[5, row]
            for j in range(5):
                moved += A[5, j] * stages[j, row]
            s[row, column] += moved


@template()
def reset_tangents(v, p, i_a, constants, s, seen_tangents, first, dp, gain, rate):
    """At a spike: keep the tangents of the first crossing, and start again from a state that depends on nothing.

    Returns by how much this crossing moves against the one before, in ms per A; (K,) scratch: dp, gain, rate.
    """
    moved = 0.0
    if first:
        for row in range(s.shape[0]):
            put(seen_tangents[row], s[row])
    elif s.size > 0:
        v_flow, _, _ = rates(v, p, i_a, constants, dp, gain, rate)
        moved = -s[0, p.size + 1] / v_flow
    s[:] = 0.0
    return moved


@template()
def finish(j, v, p, spikes, s, v_out, hold, constants, event, seen, tangents, late, seen_tangents, moved):
    """Write neuron j's results at the end of its macro step, and reset it where the rule says so."""
    domains = p.shape[0]
    if spikes[j] == 0 or not event:
        seen[0, j] = v_out
        put(seen[1:, j], p[:, j])
    with_tangents = tangents.shape[-1] > 0
    if with_tangents:
        if event and spikes[j] > 0:
            for row in range(1 + domains):
                put(tangents[row, :, j], seen_tangents[row])
            put(late[: 1 + domains, j], s[:, domains + 1])
            late[1 + domains, j] = moved
        else:
            for row in range(1 + domains):
                put(tangents[row, :, j], s[row])
            late[:, j] = 0.0
    v[j] = v_out
    if spikes[j] > 0 and not event:
        v[j] = constants[V_RESET]
        p[:, j] = constants[P_RESET]
        hold[j] = 0.0


@template()
def rosenbrock_windows(
    start, stop, constants, v, p, hold, step, i_a, spikes, rtol, event, seen, lead_ms, free_ms, tangents, late
):
    """Adaptive Rosenbrock over 1 ms; `step` (n,) keeps each neuron's step size in ms from one call to the next."""
    domains = p.shape[0]
    work, u = np.empty((6, 2 + 2 * domains)), np.empty((6, 1 + domains))
    p_now, p_new, dp = np.empty(domains), np.empty(domains), np.empty(domains)
    stages, second, right = np.empty((6, 1 + domains)), np.empty((2, domains)), np.empty(domains)
    s, seen_tangents = np.empty((1 + domains, 2 + domains)), np.empty((1 + domains, 2 + domains))
    with_tangents = tangents.shape[-1] > 0
    for j in range(start, stop):
        x = constants[j % constants.shape[0]]
        put(p_now, p[:, j])
        v_now, h = v[j], min(max(step[j], SHORTEST_STEP_MS), MACRO_MS)
        s[:] = 0.0
        for row in range(1 + domains):
            s[row, row] = 1.0
        spikes[j], moved = 0, 0.0
        t = min(hold[j], MACRO_MS)
        hold[j] -= t
        begun = since = t
        for _ in range(MOST_STEPS):
            if not t < MACRO_MS:
                break
            if v_now < x[V_THRESHOLD]:
                last = h >= MACRO_MS - t
                tried = MACRO_MS - t if last else h
                v_new, error = rosenbrock_step(v_now, p_now, i_a[j], 0.0, tried, rtol, x, work, u, p_new, dp)
                if v_new != v_new:
                    error = math.inf
                if not error <= 1.0 and tried > SHORTEST_STEP_MS:
                    h = max(tried * (max(0.2, 0.9 * error**-0.25) if error < 1e300 else 0.2), SHORTEST_STEP_MS)
                    continue
                grown = tried * min(5.0, 0.9 * (error + 1e-12) ** -0.25)
                if v_new >= x[V_THRESHOLD]:
                    last = False
                    tried, v_new = to_threshold(v_now, p_now, i_a[j], 0.0, tried, v_new, rtol, x, work, u, p_new, dp)
                    v_new = x[V_THRESHOLD]
                if with_tangents:
                    rosenbrock_tangents(v_now, p_now, i_a[j], tried, x, work, u, s, stages, second, right)
                t = MACRO_MS if last else t + tried
                v_now = v_new
                h = max(grown, h) if last else grown
                put(p_now, p_new)
            if v_now >= x[V_THRESHOLD]:
                spikes[j] += 1
                h = FIRST_STEP_MS
                if spikes[j] == 1:
                    lead_ms[j] = t - begun
                if not event:
                    break
                if spikes[j] == 1:
                    seen[0, j] = v_now
                    put(seen[1:, j], p_now)
                first = spikes[j] == 1
                moved += reset_tangents(v_now, p_now, i_a[j], x, s, seen_tangents, first, dp, second[0], second[1])
                v_now = x[V_RESET]
                p_now[:] = x[P_RESET]
                held = min(x[T_REFRACTORY], MACRO_MS - t)
                hold[j] = x[T_REFRACTORY] - held
                t += held
                since = t
            elif v_now != v_now:
                break
        if t < MACRO_MS and not (v_now >= x[V_THRESHOLD] and not event):
            v_now = math.nan
        if spikes[j] == 0:
            lead_ms[j] = MACRO_MS - begun
        free_ms[j] = MACRO_MS - since
        step[j] = h
        put(p[:, j], p_now)
        finish(j, v, p, spikes, s, v_now, hold, x, event, seen, tangents, late, seen_tangents, moved)


@template()
def euler_step(v, p, i_a, dt, constants, dp, gain, rate, s):
    """One explicit Euler step of `dt` ms, p updated in place, tangents s too unless they are empty. Returns V."""
    domains = p.size
    weight = weights(constants, domains)
    _, _, drive = rates(v, p, i_a, constants, dp, gain, rate)
    v_per_p = constants[V_PER_P]
    at_membrane, per_v, by_p = v, 1.0, 0.0
    if law.TERMINAL:
        polarization = polarization_of(p, constants)
        by_p = law.terminal_by_p(v, polarization, constants, 0, domains)
        at_membrane = law.terminal(v, polarization, constants, 0, domains)
        per_v = law.terminal_slope(v, polarization, constants, 0, domains)
    leak = dt * constants[DRIVE] * law.leak(at_membrane, constants, 0, domains)
    leak_slope = dt * constants[DRIVE] * law.leak_slope(at_membrane, constants, 0, domains) * per_v
    if abs(leak) * per_v > abs(at_membrane):
        leak, leak_slope = at_membrane / per_v, 1.0
    i_in, i_slope, i_gain = dt * drive * i_a, 0.0, dt * drive
    if i_a < 0.0:
        to_floor = (constants[V_FLOOR] - at_membrane) / per_v
        i_slope = dt * constants[DRIVE] * i_a * law.compliance_slope(at_membrane, constants, 0, domains) * per_v
        if abs(i_in) > abs(to_floor):
            i_in, i_slope, i_gain = to_floor, -1.0, 0.0
    v_new = v + i_in - leak
    if s.size > 0:
        for column in range(2 + domains):
            s_field = constants[K_CAP] * s[0, column]
            for k in range(domains):
                s_field -= constants[K_POL] * weight[k] * s[1 + k, column]
            moved = s[0, column] * (1.0 + i_slope - leak_slope)
            if law.TERMINAL:
                for k in range(domains):
                    moved += (i_slope - leak_slope) * by_p * weight[k] * s[1 + k, column]
            if column == 1 + domains:
                moved += i_gain
            for k in range(domains):
                flow = -s[1 + k, column]
                if dt * rate[k] < 1.0:
                    flow = dt * (gain[k] * s_field - rate[k] * s[1 + k, column])
                s[1 + k, column] += flow
                moved -= v_per_p * weight[k] * flow
            s[0, column] = moved
    for k in range(domains):
        flow = dt * dp[k] if dt * rate[k] < 1.0 else dp[k] / rate[k]
        p[k] += flow
        v_new -= v_per_p * weight[k] * flow
    return v_new


@template()
def euler_windows(
    start, stop, constants, v, p, hold, i_a, spikes, substeps, event, seen, lead_ms, free_ms, tangents, late
):
    """Explicit Euler in `substeps` equal steps a macro step: 1000 make the paper's microsecond."""
    domains = p.shape[0]
    dp, gain, rate, p_now = np.empty(domains), np.empty(domains), np.empty(domains), np.empty(domains)
    with_tangents = tangents.shape[-1] > 0
    columns = 2 + domains if with_tangents else 0
    s, seen_tangents = np.empty((1 + domains, columns)), np.empty((1 + domains, columns))
    dt = MACRO_MS / substeps
    for j in range(start, stop):
        x = constants[j % constants.shape[0]]
        put(p_now, p[:, j])
        v_now = v[j]
        s[:] = 0.0
        for row in range(min(1 + domains, columns)):
            s[row, row] = 1.0
        spikes[j], moved = 0, 0.0
        held = min(round(hold[j] / dt), substeps)
        hold[j] -= held * dt
        n = begun = since = held
        while n < substeps:
            if v_now < x[V_THRESHOLD]:
                v_now = euler_step(v_now, p_now, i_a[j], dt, x, dp, gain, rate, s)
                n += 1
            if v_now >= x[V_THRESHOLD]:
                spikes[j] += 1
                if spikes[j] == 1:
                    lead_ms[j] = (n - begun) * dt
                if not event:
                    break
                if spikes[j] == 1:
                    seen[0, j] = v_now
                    put(seen[1:, j], p_now)
                first = spikes[j] == 1
                moved += reset_tangents(v_now, p_now, i_a[j], x, s, seen_tangents, first, dp, gain, rate)
                v_now = x[V_RESET]
                p_now[:] = x[P_RESET]
                wait = round(x[T_REFRACTORY] / dt)
                held = min(wait, substeps - n)
                hold[j] = (wait - held) * dt
                n += held
                since = n
            elif v_now != v_now:
                break
        if spikes[j] == 0:
            lead_ms[j] = (substeps - begun) * dt
        free_ms[j] = (substeps - since) * dt
        put(p[:, j], p_now)
        finish(j, v, p, spikes, s, v_now, hold, x, event, seen, tangents, late, seen_tangents, moved)
