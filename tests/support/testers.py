"""Files as testers write them, of films that are known: the compiled film's answer in the shape of an export."""

from collections.abc import Mapping

import numpy as np

from bruno_spice.calibration.workbench.fecap import library
from bruno_spice.devices.fecap.film import charge_density

AREA_MM2 = 0.01


def film(**values: float) -> dict[str, float]:
    """The library's film with `values`."""
    return {name: float(param.value or 0.0) for name, param in library().items()} | values


def settled_loop(values: Mapping[str, float], points: int = 160) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time in s, voltage in V and charge in C/m2 of the third cycle of a triangle, 3 V at 1 kHz."""
    time_s = np.linspace(0.0, 3e-3, 3 * points + 1)
    voltage_v = np.interp((1e3 * time_s) % 1, [0, 0.25, 0.75, 1], 3.0 * np.array([0, 1, -1, 0]))
    charge_c_m2 = charge_density(time_s, voltage_v, dict(values))[-points - 1 :]
    return time_s[: points + 1], voltage_v[-points - 1 :], charge_c_m2


def aixacct_loop(values: Mapping[str, float]) -> str:
    """A dynamic hysteresis measurement of a film with `values`, whose thickness the file states."""
    time_s, voltage_v, charge_c_m2 = settled_loop(values)
    current_a = 1e-6 * AREA_MM2 * np.gradient(charge_c_m2, time_s)
    rows = np.stack([time_s, voltage_v, current_a, 100 * charge_c_m2], axis=1)
    return "\r\n".join(
        [
            "DynamicHysteresisResult",
            "",
            "DynamicHysteresis",
            "Program: aixPlorer Software version 3.0.25.0",
            "TfaModule: DHM",
            "",
            "Table 1",
            "Timestamp: 01/02/2024 10:00:00",
            "Waveform: triangle",
            "SampleName: a film that is known",
            f"Area [mm2]: {AREA_MM2:g}",
            f"Thickness [nm]: {1e9 * values['tfe']:g}",
            "Hysteresis Frequency [Hz]: 1000",
            "Hysteresis Amplitude [V]: 3",
            "Measurement Status: 0",
            "Time [s]\tV+ [V]\tI1 [A]\tP1 [uC/cm2]\t",
            *("\t".join(f"{each:.9e}" for each in row) + "\t" for row in rows),
            "",
        ]
    )
