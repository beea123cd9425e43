"""How many switching groups stand for a film: each number of them against the converged film of 1024.

Seen are what the neuron sees, the membrane on its way to the first spike at three currents, and what a probe station
sees: P-V loops, minor loops, PUND, pulse kinetics. The neuron is integrated by scipy (`calibration.benches.reference`),
the film under a voltage by its compiled twin (`devices.fecap.film`); ngspice checks the number that the library
has. Film errors count in shares of Ps, of which 2 are a reversal.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track

from bruno_spice.calibration.benches.fecap import FECAP_NETLIST, PRESET_S, PRESET_V, BenchResult, pulses
from bruno_spice.calibration.benches.reference import CONVERGED_GROUPS, parameters, reference_neuron
from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, simulate_neurons
from bruno_spice.calibration.circuits.measures import loop_numbers, pulse_charges
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.fecap.film import charge_density
from bruno_spice.devices.fecap.groups import DEFAULT_GROUPS
from bruno_spice.devices.waveform import Waveform, rms_difference

Array = NDArray[np.float64]
CURRENTS_A = (308e-12, 3e-9, 30e-9)
GROUPS = (8, 16, 24, 32, 64)
SAMPLES = 4000
MINOR_V, MINOR_HZ = 1.2, 100.0
"""A loop that stops where half the film has switched, slowly: the hardest for few groups."""
PUND = ((2.5, 100e-6), (1.5, 100e-6), (2.5, 1e-6))
KINETICS = tuple((v, float(t)) for v in (1.0, 1.25, 1.5, 2.0) for t in np.logspace(-7, -2, 11))


def group_convergence(
    groups: Sequence[int] = GROUPS,
    netlist: Path | str = FECAP_NETLIST,
    overrides: Mapping[str, float] | None = None,
    farm: Farm | None = None,
) -> BenchResult:
    """A row for each number of groups: its distance from the converged film, rms, in V or in shares of Ps.

    The traces are the membrane at the lowest current, with the converged film's beside it. Raises `InputError` where
    `overrides` set the number of groups.
    """
    if overrides and "groups" in overrides:
        raise InputError("this bench varies the number of groups itself; leave --groups out")
    film = parameters(Path(netlist), overrides)
    shared = set(Netlist.load(NEURON_NETLIST).params)
    neuron = parameters() | {name: value for name, value in film.items() if name in shared and name != "area"}
    converged = _Seen(film, neuron, CONVERGED_GROUPS)
    traces, numbers = [], []
    for n in track(groups, "film", disable=farm is None or farm.progress is None, transient=True):
        seen = _Seen(film, neuron, n)
        numbers.append({"groups": n} | seen.against(converged))
        traces.append(_trace(n, seen.membranes[0], converged.membranes[0]))
    table = pd.DataFrame(numbers)
    names = {name: value for name, value in (overrides or {}).items() if name in shared and name != "area"}
    table["v_rms_308p_ngspice_v"] = [
        _in_ngspice(names, farm).against(converged.membranes[0]) if n == DEFAULT_GROUPS else np.nan for n in groups
    ]
    return BenchResult("groups", pd.concat(traces, ignore_index=True), table)


class _Path:
    """A membrane up to its first spike."""

    def __init__(self, wave: Waveform) -> None:
        self.wave = wave
        self.spike_s = float(wave.spike_times_s[0])

    def against(self, other: "_Path") -> float:
        """Rms in V of the difference, up to the earlier of the two spikes."""
        until = np.linspace(0.0, min(self.spike_s, other.spike_s), SAMPLES)
        return rms_difference(other.wave, self.wave, "v_mem_v", until)


class _Seen:
    """What a film of `groups` groups shows."""

    def __init__(self, film: Mapping[str, float], neuron: Mapping[str, float], groups: int) -> None:
        self.film = {**film, "groups": groups}
        drives = [(stimuli.constant(i)[0], 15e-12 / i + 2e-5) for i in CURRENTS_A]
        self.membranes = [_Path(reference_neuron(s, end, neuron, groups, rtol=1e-5)) for s, end in drives]
        self.loop = self._charge(*_triangle(3.0, 1e3))
        self.minor = self._charge(*_triangle(MINOR_V, MINOR_HZ))
        self.pund = np.array([self._pund(*condition) for condition in PUND])
        self.kinetics = np.array([self._left(*condition) for condition in KINETICS])

    def against(self, other: "_Seen") -> dict[str, float]:
        """The row of the table."""
        paths = list(zip(self.membranes, other.membranes, strict=True))
        row = {f"v_rms_{i * 1e12:.0f}p_v": a.against(b) for i, (a, b) in zip(CURRENTS_A, paths, strict=True)}
        row["first_spike_error"] = max(abs(a.spike_s / b.spike_s - 1) for a, b in paths)
        for name in ("loop", "minor", "pund", "kinetics"):
            difference = getattr(self, name) - getattr(other, name)
            row[f"{name}_rms_ps"] = float(np.sqrt(np.mean(difference**2)) / self.film["ps"])
        row["minor_imprint_v"] = self._imprint_v()
        return row

    def _charge(self, time_s: Array, voltage_v: Array) -> Array:
        return charge_density(time_s, voltage_v, self.film)

    def _pund(self, amplitude_v: float, width_s: float) -> float:
        """P - U in C/m^2."""
        levels = [(-PRESET_V, PRESET_S), (amplitude_v, width_s), (amplitude_v, width_s)]
        time, voltage, starts = pulses(levels, edge_s=0.1 * width_s, gap_s=width_s)
        _, p, u = pulse_charges(time, self._charge(time, voltage), starts, np.append(starts[1:], time[-1]))
        return float(p - u)

    def _left(self, amplitude_v: float, width_s: float) -> float:
        """Charge in C/m^2 that stays after a pulse on a freshly preset film."""
        time, voltage, starts = pulses(
            [(-PRESET_V, PRESET_S), (amplitude_v, width_s)], edge_s=min(0.1 * width_s, 1e-6), gap_s=5e-6
        )
        return float(np.diff(np.interp([starts[1], time[-1]], time, self._charge(time, voltage)))[0])

    def _imprint_v(self) -> float:
        """What the minor loop's two coercive voltages say of an imprint that is not there."""
        time, voltage = _triangle(MINOR_V, MINOR_HZ)
        last = (time >= time[-1] - 1.25 / MINOR_HZ) & (time <= time[-1] - 0.25 / MINOR_HZ)
        true = self.film["imprint"] * 1e8 * self.film["tfe"]
        return float(loop_numbers(voltage[last], self.minor[last]).imprint_v - true)


def _triangle(amplitude_v: float, frequency_hz: float, cycles: int = 4) -> tuple[Array, Array]:
    """Time and voltage of so many triangles; the first ones condition the film."""
    quarter = np.arange(cycles * 400 + 1) / 400.0
    return quarter / frequency_hz, amplitude_v * (2 / np.pi) * np.arcsin(np.sin(2 * np.pi * quarter))


def _in_ngspice(overrides: Mapping[str, float], farm: Farm | None) -> _Path:
    drive = stimuli.constant(CURRENTS_A[0])[0]
    run = NeuronRun(drive, 15e-12 / CURRENTS_A[0], overrides)
    return _Path(simulate_neurons([run], farm=farm)[0])


def _trace(groups: int, path: _Path, converged: _Path) -> pd.DataFrame:
    time = np.linspace(0.0, min(path.spike_s, converged.spike_s), 1000)
    columns = {"time_s": time, "v_mem_v": path.wave.resampled(time)["v_mem_v"]}
    return pd.DataFrame({"groups": groups, **columns, "v_converged_v": converged.wave.resampled(time)["v_mem_v"]})
