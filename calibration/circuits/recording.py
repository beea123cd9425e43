"""A neuron under a stimulus in ngspice: whether it can be believed, and what is read off its spikes without a fit.

A spike before the membrane has reached the threshold is no spike of the circuit: at a loose `reltol` a trial step of
ngspice can set the latch, which then stays set although the step is taken back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import DoubtfulSpikesError, FitError
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform

EARLY_V = 10e-3
"""A spike at whose time the membrane is further than this below the threshold is early."""
WITHIN_DEAD_TIME = 0.2
"""Spikes closer than this share of the dead time are one."""
NEAR = 0.9
"""Spikes below this share of the netlist's threshold come from somewhere else."""
BEFORE_SPIKE_S = 20e-6
SLOPE_S = 5e-6
ENOUGH_SPIKES = 3
"""So many spikes tell a threshold of their own."""
STATE = 0.02
"""A film that comes back further than this from where it started does not ramp as it did first."""
KICK_V = 20e-3
"""So far below its hold the membrane must be let go for that to count as its reset level."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Recording:
    """A neuron under `stimulus`, in SPICE or measured: ``v_mem_v``, ``polarization`` where known, the spike times."""

    stimulus: Stimulus
    spice: Waveform

    @property
    def t_stop_s(self) -> float:
        """End of the recording in s."""
        return float(self.spice.time_s[-1])

    @property
    def steady(self) -> bool:
        """Whether the current is constant after a first ramp."""
        return self.stimulus.time_s.size == 2

    @property
    def knows_polarization(self) -> bool:
        """Whether the film's polarization was recorded, too."""
        return "polarization" in self.spice.signals

    @property
    def start(self) -> dict[str, float]:
        """Where the circuit starts, as `transient.simulate` takes it; 0 V and -1 where it is that but for noise.

        A film whose polarization is not known starts at -1.
        """
        v_start = round(float(self.spice["v_mem_v"][0]), 3) + 0.0
        polarization = round(float(self.spice["polarization"][0]), 3) if self.knows_polarization else -1.0
        return {
            "v_start": v_start if abs(v_start) > KICK_V else 0.0,
            "polarization_start": min(polarization, 1.0) if polarization > -1.0 + STATE / 2 else -1.0,
        }


def refuse_early_spikes(spice: Waveform, v_threshold: float | None, label: str) -> None:
    """Raise `DoubtfulSpikesError` where a spike of `spice` comes before its membrane ``v_mem_v`` is at the threshold.

    That is `v_threshold` (in V, of the netlist) where most spikes come there. Where it is unknown, or they come
    elsewhere, it is what three spikes or more have in common: a level and, since a comparator takes its time, a delay
    times the membrane's slope. One or two spikes that are nowhere near `v_threshold` cannot be judged.
    """
    reached_v, slope = _membrane_before_spikes(spice)
    if not reached_v.size:
        return
    level_v = np.nan if v_threshold is None else v_threshold
    needed_v = np.full(reached_v.size, level_v if np.median(reached_v) > NEAR * level_v else np.nan)
    if reached_v.size >= ENOUGH_SPIKES and not np.mean(reached_v >= needed_v - EARLY_V) >= 0.5:
        from scipy.stats import theilslopes  # a second or two, which an ordinary circuit does not wait for

        alike = np.ptp(slope) < 0.1 * np.max(np.abs(slope))
        delay_s = 0.0 if alike else max(theilslopes(reached_v, slope).slope, 0.0)
        needed_v = np.median(reached_v - delay_s * slope) + delay_s * slope
    early = np.flatnonzero(reached_v < needed_v - EARLY_V)
    if early.size:
        k = early[0]
        raise DoubtfulSpikesError(
            f"{label}: {early.size} of {reached_v.size} spikes come before the membrane is at the threshold: spike "
            f"{k + 1} at {format_si(spice.spike_times_s[k], 's')} with the membrane at {reached_v[k]:.4g} of "
            f"{needed_v[k]:.4g} V; a trial step has set the output, so lower reltol in the deck's .options, "
            f"to 1e-5 or below (where the comparator itself is off, record at least {ENOUGH_SPIKES} spikes)"
        )


def refuse_double_spikes(spice: Waveform, dead_time_s: float | None, label: str) -> None:
    """Raise `DoubtfulSpikesError` where a spike follows another within `WITHIN_DEAD_TIME` of the netlist's dead time.

    The circuit is held then: an output that passes half the supply twice has bounced in a step that was taken back.
    """
    if dead_time_s is None or spice.spike_times_s.size < 2:
        return
    intervals = np.diff(spice.spike_times_s)
    double = np.flatnonzero(intervals < WITHIN_DEAD_TIME * dead_time_s)
    if double.size:
        k = double[0]
        raise DoubtfulSpikesError(
            f"{label}: {double.size} of {spice.spike_times_s.size} spikes come twice: spike {k + 2} at "
            f"{format_si(spice.spike_times_s[k + 1], 's')}, {format_si(intervals[k], 's')} after the one before, but "
            f"the circuit is held for {format_si(dead_time_s, 's')}; lower reltol or the longest step of .tran"
        )


def _membrane_before_spikes(spice: Waveform) -> tuple[Array, Array]:
    """Highest membrane in V within 20 us before each spike, with the sample after it, and its slope there in V/s."""
    time, v_mem, spikes = spice.time_s, spice["v_mem_v"], spice.spike_times_s
    first, last = np.searchsorted(time, spikes - BEFORE_SPIKE_S), np.searchsorted(time, spikes)
    highest = [v_mem[a : b + 1].max() for a, b in zip(first, last, strict=True)]
    start, end = (np.interp(spikes - back, time, v_mem) for back in (2 * SLOPE_S, SLOPE_S))
    return np.array(highest), (end - start) / SLOPE_S


@dataclass(frozen=True)
class SpikeMeasures:
    """What is read off the spikes themselves."""

    v_threshold: float
    v_reset: float
    t_refractory: float
    polarization_reset: float = -1.0


def measure_spikes(recordings: Sequence[Recording]) -> SpikeMeasures:
    """Threshold and reset level (medians over all spikes) and dead time of recordings, of which some are `steady`.

    The threshold is the membrane voltage at the spike; the reset level, to the millivolt, the membrane 50 us after it,
    or half the dead time where that is shorter, or where the membrane is kicked down when it is let go, the foot of the
    ramp that follows. The polarization is read shortly before that; where none was recorded it counts as -1. The dead
    time is by how much an interval between spikes is longer than the way to the first one from the reset level (less
    half the initial ramp of the current): median of the three fastest recordings, where it weighs most. After a kick,
    or where the film does not come back to where it started, it is the time up to the foot of the ramp.
    Raises `FitError` where a recording holds no spike, or none holds two.
    """
    silent = [r.stimulus.name for r in recordings if r.spice.spike_times_s.size == 0]
    if silent:
        raise FitError(
            f"no spike in SPICE under {silent[0]}: the neuron cannot be fitted there; drive it with more current, by "
            "--current-scale or --currents"
        )
    steady = [r for r in recordings if r.steady and r.spice.spike_times_s.size > 1]
    repeated = sorted(steady, key=lambda r: r.spice.spike_times_s[0])
    if not repeated:
        raise FitError("no transient holds two spikes, so the dead time cannot be told; record longer")
    dead_times = [
        r.spice.spike_times_s[1] - 2 * r.spice.spike_times_s[0] + r.stimulus.time_s[1] / 2 for r in repeated[:3]
    ]
    thresholds = [v for r in recordings for v in r.spice.resampled(r.spice.spike_times_s)["v_mem_v"]]
    after_s = min(50e-6, max(float(np.median(dead_times)), 0.0) / 2)
    resets = [v for r in repeated for v in r.spice.resampled(r.spice.spike_times_s[:-1] + after_s)["v_mem_v"]]
    v_reset = round(float(np.median(resets)), 3) + 0.0
    if v_reset > 0:
        dead_times = [dead + _charging_s(r, v_reset) for dead, r in zip(dead_times, repeated[:3], strict=True)]
    v_threshold = float(np.median(thresholds))
    feet = [_foot(r, after_s, v_reset, v_threshold) for r in repeated[:3]]
    released_s, v_released = np.median(feet, axis=0)
    if v_released < v_reset - KICK_V:
        v_reset = round(float(v_released), 3)
    held_s = max(0.9 * float(released_s), 1e-6)
    known = [r for r in repeated if r.knows_polarization]
    written = [p for r in known for p in r.spice.resampled(r.spice.spike_times_s[:-1] + held_s)["polarization"]]
    polarization = min(max(round(float(np.median(written or [-1.0])), 3), -1.0), 1.0)
    if v_reset < -KICK_V or abs(polarization - repeated[0].start["polarization_start"]) > STATE:
        dead_times = [t for t, _ in feet]
    return SpikeMeasures(v_threshold, v_reset, float(np.median(dead_times)), polarization)


def _foot(recording: Recording, after_s: float, v_held: float, v_threshold: float) -> tuple[float, float]:
    """Where the ramp after the first spike begins: s after the spike, and V; at `v_held` unless a kick goes before it.

    From where the membrane has come a quarter of the way up, it is followed back as long as it falls. A dip from which
    it comes back to `v_held` and stays there is none: the reset still holds it, up to the last time that it is there.
    """
    spike_s, next_s = recording.spice.spike_times_s[:2]
    time, v = recording.spice.time_s, recording.spice["v_mem_v"]
    inside = (time > spike_s + after_s) & (time < next_s)
    time, v = time[inside], v[inside]
    up = np.flatnonzero(v > v_held + 0.25 * (v_threshold - v_held))
    if not up.size or up[0] == 0:
        return after_s, v_held
    back = v[: up[0] + 1][::-1]
    risen = np.flatnonzero(back - np.minimum.accumulate(back) > KICK_V)
    ramp = back[: risen[0]] if risen.size else back
    foot = up[0] - int(np.argmin(ramp))
    near = np.abs(v[: up[0]] - v_held) < KICK_V / 2
    stays_s = float(np.sum(np.diff(time[foot : up[0] + 1]) * near[foot:]))
    if v[foot] < v_held - KICK_V and stays_s <= 0.2 * (time[up[0]] - time[foot]):
        return float(time[foot] - spike_s), float(v[foot])
    released = np.flatnonzero(near)
    return float(time[released[-1]] - spike_s) if released.size else after_s, v_held


def _charging_s(recording: Recording, v_mem_v: float) -> float:
    """How long the full current needs from rest to `v_mem_v`, its initial ramp taken off."""
    reached_s, ramp_s = float(recording.spice.crossings("v_mem_v", v_mem_v)[0]), float(recording.stimulus.time_s[1])
    return reached_s - ramp_s / 2 if reached_s > ramp_s else reached_s**2 / (2 * ramp_s)
