"""How much current a neuron circuit needs: measured on its first spikes, against the project's neuron.

    Q = (I_1 - I_leak) t_1,   I_leak = (I_1 t_1 - I_2 t_2)/(t_1 - t_2)

with t the first spike at a constant current. The stimuli of calibration and bench are scaled by Q over that of the
project's neuron (2 A Ps + C Vth, 25 um^2), unless it is within a factor of two of it. Where the lowest of them stays
silent, what the leak takes is added.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from bruno_spice.calibration.circuits import stimuli
from bruno_spice.calibration.circuits.experiments import NeuronRun, simulate_neurons
from bruno_spice.calibration.circuits.stimuli import Drive
from bruno_spice.calibration.errors import FitError
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.units import format_si
from bruno_spice.devices.waveform import Waveform

PROJECT_CHARGE_C = 13.3e-12
"""Charge to the first spike of the project's neuron at `PROBE_A`."""
PROJECT_LEAK_A = 9e-12
PROBE_A, SLOW_PROBES_A = 3e-9, (160e-12, 1e-9, 10e-9)
"""Constant currents of the project's neuron at which the charge and, at the slowest that spikes, the leak are seen."""
STEP, MOST_STEPS = 8.0, 5
"""The probe's current is changed by this factor, so many times at most, until the first spike comes..."""
EARLIEST_S = 0.5e-3
"""...not before this, and before the probe ends."""
NEAR = 2.0
"""Within this factor of the project's charge its currents stay as they are."""
RAMP_S = 10e-6
"""Of a constant current, at its start."""
Notice = Callable[[str], None]


def _untold(_: str) -> None:
    pass


def measure_drive(
    netlist: Path | str,
    overrides: Mapping[str, float],
    farm: Farm | None,
    notice: Notice = _untold,
    scale: float | None = None,
) -> Drive:
    """The currents that make the circuit spike at the rates of the project's; `scale` sets the factor instead.

    Raises `FitError` where no constant current makes it spike.
    """
    if scale is not None:
        return Drive(scale)
    current_a, first_s = _probe(netlist, overrides, farm, notice)
    drive = Drive(scale_of(current_a * first_s))
    if _constant(netlist, overrides, farm, drive, stimuli.FIT_CURRENTS_A[0])[1] is None:
        leak_a = _leak_a(netlist, overrides, farm, drive, current_a, first_s)
        drive = Drive(scale_of((current_a - leak_a) * first_s))
        drive = replace(drive, offset_a=_digits(max(leak_a - PROJECT_LEAK_A * drive.scale, 0.0)))
    if drive != Drive():
        low, high = (drive.constant_a(i) for i in (stimuli.FIT_CURRENTS_A[0], stimuli.FIT_CURRENTS_A[-1]))
        leaking = f" and {format_si(drive.offset_a, 'A')} for the leak" if drive.offset_a else ""
        notice(
            f"a spike takes {format_si(current_a * first_s, 'C')} at {format_si(current_a, 'A')}: the currents are "
            f"{drive.scale:g} times those of the project's neuron{leaking}, the constant ones {format_si(low, 'A')} to "
            f"{format_si(high, 'A')} (--current-scale and --currents set others)"
        )
    return drive


def spike_charge_c(netlist: Path | str, overrides: Mapping[str, float], farm: Farm | None) -> float:
    """Charge to the first spike in C, of short transients; raises what `measure_drive` does."""
    current_a, first_s = _probe(netlist, overrides, farm, _untold)
    return current_a * first_s


def scale_of(charge_c: float) -> float:
    """The factor on the currents of a circuit whose spike takes `charge_c`."""
    ratio = charge_c / PROJECT_CHARGE_C
    return 1.0 if 1 / NEAR < ratio < NEAR else _digits(ratio)


def _probe(
    netlist: Path | str, overrides: Mapping[str, float], farm: Farm | None, notice: Notice
) -> tuple[float, float]:
    """A current in A and the first spike in s there, neither before `EARLIEST_S` nor behind the probe's end."""
    end_s = stimuli.constant(PROBE_A)[1]
    current_a, found = PROBE_A, None
    for step in range(MOST_STEPS):
        told = notice if step == 0 else _untold
        first_s = _first_spike_s(_transient(netlist, overrides, farm, current_a, end_s, told))
        if first_s is not None:
            found = current_a, first_s
        if first_s is None and found is not None:
            break
        if first_s is not None and (first_s >= EARLIEST_S or current_a > PROBE_A):
            break
        current_a = current_a * STEP if first_s is None else current_a / STEP
    if found is None:
        raise FitError(
            f"no spike in SPICE under constant currents from {format_si(PROBE_A, 'A')} to "
            f"{format_si(current_a / STEP, 'A')} within {format_si(end_s, 's')} each; where the neuron needs others, "
            "say so by --current-scale and --currents"
        )
    return found


def _leak_a(
    netlist: Path | str, overrides: Mapping[str, float], farm: Farm | None, drive: Drive, fast_a: float, fast_s: float
) -> float:
    """The leak that the first spike at the slowest spiking current shows beside that at `fast_a`, in A."""
    for project_a in SLOW_PROBES_A:
        slow_a, slow_s = _constant(netlist, overrides, farm, drive, project_a)
        if slow_s is not None and abs(slow_s - fast_s) > 0.01 * fast_s:
            return (slow_a * slow_s - fast_a * fast_s) / (slow_s - fast_s)
    return 0.0


def _constant(
    netlist: Path | str, overrides: Mapping[str, float], farm: Farm | None, drive: Drive, project_a: float
) -> tuple[float, float | None]:
    """What stands for the project's constant `project_a`, in A, and the first spike in s there, if it comes in time."""
    stimulus, end_s = stimuli.constant(project_a, drive)
    current_a = float(stimulus.i_syn_a[-1])
    return current_a, _first_spike_s(_transient(netlist, overrides, farm, current_a, end_s))


def _transient(
    netlist: Path | str,
    overrides: Mapping[str, float],
    farm: Farm | None,
    current_a: float,
    end_s: float,
    notice: Notice = _untold,
) -> Waveform:
    return simulate_neurons([NeuronRun(Stimulus.dc(current_a), end_s, overrides)], netlist, farm, notice)[0]


def _first_spike_s(wave: Waveform) -> float | None:
    """First spike after the middle of the current's ramp; None where there is none."""
    return float(wave.spike_times_s[0]) - RAMP_S / 2 if wave.spike_times_s.size else None


def _digits(value: float) -> float:
    return float(f"{value:.2g}")
