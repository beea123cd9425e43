"""Numbers read off waveforms: remanence, coercive voltages, switched charge, first spike, period, energy.

Conventions: charge is the terminal charge per electrode area in C/m^2 (1 C/m^2 = 100 uC/cm^2), centred on the
loop; a coercive voltage is where that charge crosses zero; remanence is where the voltage does.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bruno_spice.devices.errors import InputError

Array = NDArray[np.float64]
PULSE = 0.05
"""Of the largest voltage: below it a pulse has not begun, or is over."""
PAUSE = 5.0
"""Steps in one: there a tester has taken no samples between two pulses."""


@dataclass(frozen=True)
class LoopNumbers:
    """What a P-V loop says about a film."""

    pr_plus_c_m2: float
    pr_minus_c_m2: float
    vc_plus_v: float
    vc_minus_v: float
    ps_c_m2: float
    """Saturation: the linear part of the way back from the positive tip, extrapolated to 0 V."""

    @property
    def pr_c_m2(self) -> float:
        """Half the remanent window."""
        return (self.pr_plus_c_m2 - self.pr_minus_c_m2) / 2

    @property
    def vc_v(self) -> float:
        """Half the coercive window."""
        return (self.vc_plus_v - self.vc_minus_v) / 2

    @property
    def imprint_v(self) -> float:
        """Shift of the loop along the voltage axis."""
        return (self.vc_plus_v + self.vc_minus_v) / 2


def loop_numbers(voltage_v: ArrayLike, charge_c_m2: ArrayLike, between_tips: bool = False) -> LoopNumbers:
    """Numbers of one closed loop (n,) that runs from its negative tip over the positive one and back.

    The charge is counted from the middle of its extremes or, as testers do of leaky films, `between_tips`: from that of
    its values at the largest and the smallest voltage.
    Raises `InputError` if a branch never crosses zero, or has no samples on the way down to tell its slope.
    """
    voltage = np.asarray(voltage_v, dtype=np.float64)
    charge = np.asarray(charge_c_m2, dtype=np.float64)
    top = int(np.argmax(voltage))
    up, down = slice(0, top + 1), slice(top, None)
    ends = (charge[top], charge[int(np.argmin(voltage))]) if between_tips else (charge.max(), charge.min())
    charge = charge - (ends[0] + ends[1]) / 2
    linear = (voltage[down] > 0.3 * voltage[top]) & (voltage[down] < 0.6 * voltage[top])
    if np.unique(voltage[down][linear]).size < 2:
        raise InputError(
            "the loop has no samples between 0.3 and 0.6 of its top on the way down; sample it more densely"
        )
    line = np.polyfit(voltage[down][linear], charge[down][linear], 1)
    return LoopNumbers(
        pr_plus_c_m2=_crossing(voltage[down], charge[down]),
        pr_minus_c_m2=_crossing(voltage[up], charge[up]),
        vc_plus_v=_crossing(charge[up], voltage[up]),
        vc_minus_v=_crossing(charge[down], voltage[down]),
        ps_c_m2=float(line[1]),
    )


@dataclass(frozen=True)
class PundNumbers:
    """Of a pulse sequence, in C/m^2: relaxed remanences, and what a pulse that switches moves beyond one that does not.

    `prrel_plus_c_m2` is the charge from which the first pulse after a positive one starts, `prrel_minus_c_m2` that
    after a negative one. From its start to its end, both at 0 V, a positive pulse after a negative one moves
    `p_minus_u_c_m2` more than one after a positive one, a negative pulse likewise `n_minus_d_c_m2`. None: no such pair.
    """

    prrel_plus_c_m2: float | None
    prrel_minus_c_m2: float | None
    p_minus_u_c_m2: float | None
    n_minus_d_c_m2: float | None


def pund_numbers(time_s: ArrayLike, voltage_v: ArrayLike, charge_c_m2: ArrayLike) -> PundNumbers:
    """Numbers of pulses (n,), each of which stands out by a twentieth of the largest voltage.

    It starts and ends where, on the way down from there on either side, the voltage is nearest to 0, or a pause of the
    samples is.
    """
    steps = np.diff(np.asarray(time_s, dtype=np.float64))
    voltage, charge = np.asarray(voltage_v, dtype=np.float64), np.asarray(charge_c_m2, dtype=np.float64)
    signs = np.sign(voltage) * (np.abs(voltage) > PULSE * np.abs(voltage).max())
    edges = np.flatnonzero(np.diff(signs, prepend=0.0, append=0.0)).tolist()
    size, pauses = np.abs(voltage), steps > PAUSE * np.median(steps)
    runs = [
        (signs[a], _foot(size, pauses, a, -1), _foot(size, pauses, b - 1, 1)) for a, b in pairwise(edges) if signs[a]
    ]
    starts: dict[float, float] = {}
    moved: dict[tuple[float, float], float] = {}
    for (before, _, _), (sign, first, last) in pairwise(runs):
        starts.setdefault(before, float(charge[first]))
        moved.setdefault((before, sign), float(sign * (charge[last] - charge[first])))

    def beyond(sign: float) -> float | None:
        pair = (-sign, sign), (sign, sign)
        return moved[pair[0]] - moved[pair[1]] if all(each in moved for each in pair) else None

    return PundNumbers(starts.get(1.0), starts.get(-1.0), beyond(1.0), beyond(-1.0))


def pulse_charges(time_s: Array, charge_c_m2: Array, starts_s: ArrayLike, ends_s: ArrayLike) -> NDArray[np.float64]:
    """Charge (pulses,) that flowed from each pulse's start to its end, both at 0 V."""
    at = np.interp(np.stack([np.asarray(starts_s), np.asarray(ends_s)]), time_s, charge_c_m2)
    return at[1] - at[0]


def first_spike_and_period(spike_times_s: ArrayLike) -> tuple[float, float]:
    """First spike time and mean interval in s; NaN where there are too few spikes."""
    spikes = np.asarray(spike_times_s, dtype=np.float64)
    first = float(spikes[0]) if spikes.size else float("nan")
    period = float(np.diff(spikes).mean()) if spikes.size > 1 else float("nan")
    return first, period


def energy_j(time_s: ArrayLike, voltage_v: ArrayLike, current_a: ArrayLike, start_s: float, stop_s: float) -> float:
    """Energy in J delivered between two times by a source with `voltage_v`, out of which `current_a` flows."""
    time = np.asarray(time_s, dtype=np.float64)
    inner = time[(time > start_s) & (time < stop_s)]
    grid = np.concatenate([[start_s], inner, [stop_s]])
    power = np.interp(grid, time, np.asarray(voltage_v)) * np.interp(grid, time, np.asarray(current_a))
    return float(np.trapezoid(power, grid))


def forc_density(voltage_v: ArrayLike, reversal_v: ArrayLike, charge_c_m2: ArrayLike) -> NDArray[np.float64]:
    """First-order reversal density rho (reversals, voltages) in C/(m^2 V^2): rho = -1/2 d^2 P/(dV_r dV).

    `charge_c_m2` (reversals, voltages) is the charge on the way up from each `reversal_v`, NaN below it.
    Source: Pike, Roberts, Verosub, J. Appl. Phys. 85, 6660 (1999).
    """
    slope = np.gradient(np.asarray(charge_c_m2), np.asarray(voltage_v), axis=1)
    return -0.5 * np.gradient(slope, np.asarray(reversal_v), axis=0)


def _foot(size: Array, pauses: NDArray[np.bool_], at: int, step: int) -> int:
    """Where `size` (n,) has fallen to from index `at` on in steps of `step`, without a pause (n - 1,) between."""
    while 0 <= at + step < size.size and size[at + step] < size[at] and not pauses[min(at, at + step)]:
        at += step
    return at


def _crossing(x: Array, y: Array) -> float:
    """y where x crosses zero, interpolated."""
    at = np.flatnonzero(np.diff(np.signbit(x)))
    if not at.size:
        raise InputError("the loop never crosses zero; raise the amplitude or lower the frequency")
    i = int(at[0])
    return float(y[i] + (y[i + 1] - y[i]) * -x[i] / (x[i + 1] - x[i]))
