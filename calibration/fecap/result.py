"""What a FeCAP fit leaves behind: a ``.param`` include for the netlists, the figures as JSON, and a picture."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray

from bruno_spice.calibration.fecap.fit import FeCAPFit
from bruno_spice.calibration.fecap.measurement import FeCAPMeasurement
from bruno_spice.calibration.fecap.problem import CANDIDATES
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SECOND_COLOUR, SPICE_COLOUR, new_figure
from bruno_spice.devices.units import format_si

SYSTEMATIC = 0.5
"""A residual whose neighbours correlate more than this is not noise: the model misses something."""
LISTED_SAMPLES = 20
FAR_TAU0 = 100.0
"""A film as fast as this many times the library's, or as slow, is one whose times may be in another unit."""
UNITS = {"charge": ("µC/cm²", 100.0), "current": ("A/cm²", 1e-4)}


def param_include(found: FeCAPFit, source: str, not_written: tuple[str, ...] = ("s0", "groups")) -> str:
    """Lines ``.param name=value ; [unit] +- stderr`` for every library parameter but the electrode's area and state.

    Those belong to the device that a netlist builds, not to the film. Placed after a deck's own ``.param`` lines, the
    file overrides them: where ngspice meets a parameter twice, the last counts.
    """
    lines = [
        f"* FeCAP parameters fitted to {source}",
        "* .include this file in a testbench, after its own .param lines",
        f"* they belong to a film of {found.values['groups']:g} switching groups",
    ]
    for name, value in found.values.items():
        if name in not_written:
            continue
        if name in found.fit.stderr:
            said = f"fitted, +- {found.fit.stderr[name]:.3g}"
        else:
            said = found.not_determined.get(name, "not fitted")
        lines.append(f".param {name}={value:.9g} ; [{found.units[name]}] {said}")
    return "\n".join(lines) + "\n"


def result_json(found: FeCAPFit, measured: FeCAPMeasurement) -> dict[str, Any]:
    """The figures of a fit: parameters with standard errors, covariance, quality, every sample that was set apart."""
    parameters = {
        name: {
            "value": value,
            "unit": found.units[name],
            "stderr": found.fit.stderr.get(name),
            "fitted": name in found.fit.stderr,
        }
        for name, value in found.values.items()
    }
    return {
        "measurement": measured.source,
        "read_as": list(measured.read_as),
        "samples": int(measured.time_s.size),
        "samples_used": int(found.used.sum()),
        "parameters": parameters,
        "not_determined": found.not_determined,
        "covariance": {"names": list(found.fit.values), "matrix": found.fit.matrix.tolist()},
        "quantity": measured.kind,
        "unit": measured.unit,
        "rms": found.rms,
        "rms_of_span": found.rms / measured.span,
        "rms_ngspice_to_compiled_model": found.twin_rms,
        "autocorrelation": found.autocorrelation,
        "cycles_before": found.cycles_before,
        "clipped": _samples(measured.clipped, measured),
        "outliers": _samples(found.outliers, measured),
        "missed": _samples(found.missed, measured),
    }


def _samples(marked: NDArray[np.bool_], measured: FeCAPMeasurement) -> list[dict[str, float]]:
    return [
        {"row": int(n) + 1, "time_s": float(measured.time_s[n]), "response": float(measured.response[n])}
        for n in np.flatnonzero(marked)
    ]


def notes(found: FeCAPFit, measured: FeCAPMeasurement) -> list[str]:
    """What the reader of a fit must know, a sentence each."""
    out = [f"the table was read so: {'; '.join(measured.read_as)}"] if measured.read_as else []
    for what, marked in (("clipped", measured.clipped), ("outliers", found.outliers)):
        if marked.any():
            fate = "left out of the fit" if not found.used[marked].any() else "kept in the fit"
            out.append(f"{marked.sum()} samples {what}, {fate}: data rows {_listed(marked)}")
    if found.missed.any():
        rows = _listed(found.missed)
        out.append(f"the model misses something at data rows {rows}: they are off together, and kept in the fit")
    ratio = found.values["tau0"] / CANDIDATES["tau0"][0].start
    if not 1 / FAR_TAU0 < ratio < FAR_TAU0:
        out.append(
            f"tau0 is {ratio:.2g} times the library's: nothing else tells times in another unit, check --time-unit"
        )
    if found.cycles_before:
        times = f"{found.cycles_before} time{'s' if found.cycles_before > 1 else ''}"
        out.append(
            f"the record is explained best if its own drive went over the film {times} before it, from "
            f"s0 = {found.values['s0']:g}"
        )
    if found.not_determined:
        fixed = "; ".join(f"{name} = {found.values[name]:.4g} ({why})" for name, why in found.not_determined.items())
        out.append(f"left at the netlist's value, and every standard error is for that value: {fixed}")
    if found.autocorrelation > SYSTEMATIC:
        out.append(
            f"the residual is systematic (neighbours correlate by {found.autocorrelation:.2f}), so the standard errors "
            "are lower bounds"
        )
    return out


def _listed(marked: NDArray[np.bool_]) -> str:
    rows = [str(int(n) + 1) for n in np.flatnonzero(marked)[:LISTED_SAMPLES]]
    return ", ".join(rows) + (f" and {marked.sum() - LISTED_SAMPLES} more" if marked.sum() > LISTED_SAMPLES else "")


def fecap_figure(found: FeCAPFit, measured: FeCAPMeasurement, title: str) -> Figure:
    """Measured over fitted against time and against voltage, residuals, and the samples that were set apart."""
    unit, scale = UNITS[measured.kind]
    figure = new_figure(2, 2, size=(12.0, 6.6), sharex="col", gridspec_kw={"height_ratios": [2.4, 1.0]})
    marks: Mapping[str, tuple[NDArray[np.bool_], str]] = {
        "clipped": (measured.clipped, "s"),
        "outlier": (found.outliers, "x"),
    }
    for column, x in enumerate((measured.time_s, measured.voltage_v)):
        top, bottom = figure.axes[column], figure.axes[2 + column]
        top.plot(x, scale * measured.response, color=SPICE_COLOUR, lw=3.5, label="measured", solid_capstyle="round")
        top.plot(x, scale * found.model, color=MODEL_COLOUR, lw=1.3, label="ngspice, fitted")
        bottom.axhline(0.0, color="black", lw=0.7)
        left = np.where(found.used, scale * (found.model - measured.response), np.nan)
        bottom.plot(x, left, ".", color=SECOND_COLOUR, ms=3)
        for label, (marked, marker) in marks.items():
            if marked.any():
                top.plot(x[marked], scale * measured.response[marked], marker, color=SECOND_COLOUR, ms=6, label=label)
        bottom.set_xlabel("time" if column == 0 else "voltage")
        bottom.xaxis.set_major_formatter(EngFormatter("s" if column == 0 else "V"))
        top.set_ylabel(f"{measured.kind} ({unit})")
        bottom.set_ylabel(f"fit $-$ measured\n({unit})")
    figure.axes[0].legend(loc="best", fontsize=10)
    figure.suptitle(title, fontsize=14)
    figure.align_ylabels()
    return figure


def parameter_rows(found: FeCAPFit) -> list[tuple[str, str, str]]:
    """Name, value and standard error of the fitted parameters as text."""
    rows = []
    for name, value in found.fit.values.items():
        unit = found.units[name]
        shown = format_si(value, unit) if unit == "s" else f"{value:.4g} {'' if unit == '1' else unit}".rstrip()
        rows.append((name, shown, f"{100 * found.fit.stderr[name] / abs(value):.2g} %"))
    return rows
