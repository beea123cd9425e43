"""Where a membrane rests, and how inhibition ends: floor and compliance, read off one recording without a fit.

    dV/dt = -S (1 - exp(-x/V_c)),  x = V - V_floor:   S (t_2 - t_1) = V_c ln[(exp(x_1/V_c) - 1)/(exp(x_2/V_c) - 1)]

The times of two pieces of the way down have a ratio that depends on V_c alone. The recording is one of
`stimuli.rest_and_floor`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from bruno_spice.calibration.circuits.recording import Recording
from bruno_spice.calibration.errors import FitError

REST_V = 0.1
"""So near 0 V a circuit must rest."""
SETTLED_V = 5e-3
"""Largest change in the last millisecond of inhibition at a floor."""
WAY_V = (0.4, 0.15, 0.01)
"""Heights above the floor between which the way down is timed."""
COMPLIANCE_V = (2e-3, 0.5)


@dataclass(frozen=True)
class Inhibition:
    """Floor in V, to the millivolt, whether the membrane has settled there, and the compliance in V (None: unseen)."""

    v_floor: float
    settled: bool
    v_compliance: float | None


def measure_inhibition(recording: Recording) -> Inhibition:
    """What is read off a recording under `stimuli.rest_and_floor`.

    Raises `FitError` where the membrane does not rest near 0 V, which is where the model's leak ends.
    """
    end_s = recording.t_stop_s
    v_rest, before, v_floor = recording.spice.resampled([0.499 * end_s, 0.9 * end_s, end_s])["v_mem_v"]
    if abs(v_rest) > REST_V:
        raise FitError(
            f"without input the membrane is at {v_rest:.3g} V after {0.5e3 * end_s:g} ms, but the model's leak ends at "
            "0 V: bias the circuit so that it rests at ground"
        )
    settled = bool(abs(before - v_floor) < SETTLED_V)
    compliance = _compliance_v(recording, float(v_floor)) if settled else None
    return Inhibition(round(float(v_floor), 3) + 0.0, settled, compliance)


def _compliance_v(recording: Recording, v_floor: float) -> float | None:
    """V_c of the way down, to two digits; None where the membrane was never that high or no V_c explains it."""
    wave, start_s = recording.spice, 0.6 * recording.t_stop_s
    falls = [wave.crossings("v_mem_v", v_floor + x, rising=False) for x in WAY_V]
    times = [found[found > start_s][:1] for found in falls]
    if any(found.size == 0 for found in times):
        return None
    first, middle, last = (float(found[0]) for found in times)

    def excess(v_c: float) -> float:
        high, mid, low = (np.log(np.expm1(x / v_c)) for x in WAY_V)
        return float((mid - low) / (high - mid) - (last - middle) / (middle - first))

    if not excess(COMPLIANCE_V[0]) * excess(COMPLIANCE_V[1]) < 0:
        return None
    return float(f"{brentq(excess, *COMPLIANCE_V):.2g}")
