"""What a FeCAP fit leaves behind: a ``.param`` include for the netlists, and the figures as JSON and as sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.fecap.candidates import CANDIDATES, OFF, plain
from bruno_spice.calibration.fecap.fit import FeCAPFit, FittedRecord
from bruno_spice.calibration.fecap.measurement import FeCAPMeasurement
from bruno_spice.calibration.fecap.predict import Prediction, summary
from bruno_spice.devices.units import format_si

SYSTEMATIC = 0.5
"""A residual whose neighbours correlate more than this is not noise: the model misses something."""
LISTED_SAMPLES = 20
FAR_TAU0 = 100.0
"""A film as fast as this many times the library's, or as slow, is one whose times may be in another unit."""
OF_A_DEVICE = ("s0", "groups", "rs", "cfix", "area")
"""What belongs to an electrode, its state or its tester, and not to the film."""
REFERENCE_K = 300.0


def param_include(found: FeCAPFit, source: str) -> str:
    """Lines ``.param name=value ; [unit] +- stderr`` for every parameter of the film.

    Electrode, state and tester belong to the device that a netlist builds. Placed after a deck's own ``.param`` lines,
    the file overrides them: where ngspice meets a parameter twice, the last counts. `tempk` is that of the records, or
    300 K where they have several.
    """
    temperatures = {record.own.get("tempk", found.values["tempk"]) for record in found.records}
    values, apart = _shared(found)
    values["tempk"] = temperatures.pop() if len(temperatures) == 1 else REFERENCE_K
    apart = [name for name in apart if name not in (*OF_A_DEVICE, "wake", "tempk")]
    terms = [name for name in OFF if name not in (*OF_A_DEVICE, "wake") and values.get(name, OFF[name]) != OFF[name]]
    lines = [
        f"* FeCAP parameters fitted to {source}",
        *([f"* NOT TO BE BELIEVED: {found.doubt}"] if found.doubt else []),
        "* .include this file in a testbench, after its own .param lines",
        f"* they belong to a film of {values['groups']:g} switching groups",
        *(
            [f"* {', '.join(terms)}: of fecap_film (models/fecap_film.lib), which has the pins of fecap"]
            if terms
            else []
        ),
        *(f"* {name}: each record has its own (fecap.json), so that none stands here" for name in apart),
    ]
    for name, value in values.items():
        if name in OF_A_DEVICE or (name in OFF and name not in terms):
            continue
        if name in found.fit.stderr:
            said = f"fitted, +- {found.fit.stderr[name]:.3g}"
        else:
            said = found.not_determined.get(name, "not fitted")
        lines.append(f".param {name}={value:.9g} ; [{found.units[name]}] {said}")
    return "\n".join(lines) + "\n"


def _shared(found: FeCAPFit) -> tuple[dict[str, float], list[str]]:
    """The parameters of which all records have one value, and the names of those of which each has its own."""
    values, apart = dict(found.values), []
    for name in set.intersection(*(set(record.own) for record in found.records)):
        first, *others = (record.own[name] for record in found.records)
        values[name] = first
        if any(other != first for other in others):
            apart.append(name)
            del values[name]
    return values, sorted(apart)


def result_json(found: FeCAPFit, names: Sequence[str], predicted: Sequence[tuple[str, Prediction]]) -> dict[str, Any]:
    """The figures of a fit: parameters with standard errors, covariance, quality, every sample that was set apart.

    Parameters of which each record has its own stand there with its number, if they were fitted, and in its ``own``.
    """
    values, _ = _shared(found)
    parameters = {
        name: {
            "value": found.fit.values.get(name, values.get(name)),
            "unit": found.problem.unit(name),
            "stderr": found.fit.stderr.get(name),
            "fitted": name in found.fit.stderr,
            "on_its_bound": name in {f.name for f in found.fit.held},
        }
        for name in {**values, **found.fit.values}
    }
    return {
        "believed": not found.doubt,
        "doubt": found.doubt,
        "parameters": parameters,
        "not_determined": found.not_determined,
        "covariance": {"names": [f.name for f in found.fit.free], "matrix": found.fit.matrix.tolist()},
        "rms_of_span": found.rms_of_span,
        "rms_ngspice_to_compiled_model_of_span": found.twin_rms,
        "terms": {
            name: {
                "kept": each.kept,
                "needed": each.needed,
                "named": each.named,
                "held_out_without": each.without,
                "held_out_with": each.held_out,
            }
            for name, each in found.terms.items()
        },
        "drift": found.problem.drift,
        "records": [_record_json(each, name) for each, name in zip(found.records, names, strict=True)],
        "predictions": [
            _record_json(each.record, name) | {"fitted_to_it": each.fitted_to_it} for name, each in predicted
        ],
    }


def _record_json(record: FittedRecord, name: str) -> dict[str, Any]:
    measured = record.measured
    return {
        "record": name,
        "measurement": measured.source,
        "read_as": list(measured.read_as),
        "own": record.own,
        "cycles_before": record.cycles_before,
        "samples": int(measured.time_s.size),
        "samples_used": int(record.used.sum()),
        "quantity": measured.kind,
        "unit": measured.unit,
        "rms": record.rms,
        "rms_of_span": record.rms_of_span,
        "autocorrelation": record.autocorrelation,
        "numbers": summary(record),
        "clipped": _samples(measured.clipped, measured),
        "outliers": _samples(record.outliers, measured),
        "missed": _samples(record.missed, measured),
    }


def _samples(marked: NDArray[np.bool_], measured: FeCAPMeasurement) -> list[dict[str, float]]:
    return [
        {"row": int(n) + 1, "time_s": float(measured.time_s[n]), "response": float(measured.response[n])}
        for n in np.flatnonzero(marked)
    ]


def notes(found: FeCAPFit, names: Sequence[str] = ("the record",)) -> list[str]:
    """What the reader of a fit must know, a sentence each."""
    out = []
    for record, name in zip(found.records, names, strict=True):
        out += _of_record(record, f"{name}: " if len(names) > 1 else "", found.values)
    for held in found.fit.held:
        out.append(
            f"{held.name} ended on its bound {found.fit.values[held.name]:.4g} and is held there; "
            f"--bound {plain(held.name)}=LOW:HIGH widens it where physics allows"
        )
    ratio = found.values["tau0"] / CANDIDATES["tau0"][0].start
    if not 1 / FAR_TAU0 < ratio < FAR_TAU0:
        out.append(
            f"tau0 is {ratio:.2g} times the library's: nothing else tells times in another unit, check --time-unit"
        )
    if found.not_determined:
        fixed = "; ".join(
            f"{name} = {found.problem.value(name):.4g} ({why})" for name, why in found.not_determined.items()
        )
        out.append(f"left as they were, and every standard error is for that value: {fixed}")
    for name, each in found.terms.items():
        asked = "the records ask for it" if each.kept else "they do not ask for it, and it is left out"
        if each.named and not each.kept:
            asked = "they do not ask for it, but it is kept, as --free asks"
        elif each.needed:
            asked = "they do not ask for it, but the fit without it ends further from the records, so it stays"
        out.append(
            f"term {name}: {100 * each.without:.2f} % without and {100 * each.held_out:.2f} % with it on samples left "
            f"out; {asked}"
        )
    return out


def _of_record(record: FittedRecord, where: str, values: dict[str, float]) -> list[str]:
    measured = record.measured
    out = [f"{where}the table was read so: {'; '.join(measured.read_as)}"] if measured.read_as else []
    for what, marked in (("clipped", measured.clipped), ("outliers", record.outliers)):
        if marked.any():
            fate = "left out of the fit" if not record.used[marked].any() else "kept in the fit"
            out.append(f"{where}{marked.sum()} samples {what}, {fate}: data rows {_listed(marked)}")
    if record.missed.any():
        rows = _listed(record.missed)
        out.append(f"{where}the model misses something at data rows {rows}: they are off together, and kept in the fit")
    if record.cycles_before:
        times = f"{record.cycles_before} time{'s' if record.cycles_before > 1 else ''}"
        out.append(
            f"{where}the record is explained best if its own drive went over the film {times} before it, from "
            f"s0 = {record.own.get('s0', values['s0']):g}"
        )
    if record.autocorrelation > SYSTEMATIC:
        out.append(
            f"{where}the residual is systematic (neighbours correlate by {record.autocorrelation:.2f}): the model "
            "misses something, and the standard errors are those of runs of samples"
        )
    return out


def _listed(marked: NDArray[np.bool_]) -> str:
    rows = [str(int(n) + 1) for n in np.flatnonzero(marked)[:LISTED_SAMPLES]]
    return ", ".join(rows) + (f" and {marked.sum() - LISTED_SAMPLES} more" if marked.sum() > LISTED_SAMPLES else "")


def parameter_rows(found: FeCAPFit) -> list[tuple[str, str, str]]:
    """Name, value and standard error of the fitted parameters as text."""
    rows = []
    for name, value in found.fit.values.items():
        unit = found.problem.unit(name)
        shown = format_si(value, unit) if unit in ("s", "Ohm", "F") else f"{value:.4g} {'' if unit == '1' else unit}"
        stderr = found.fit.stderr.get(name)
        on_bound = name in {f.name for f in found.fit.held}
        error = "on its bound" if on_bound else f"{100 * stderr / abs(value):.2g} %" if stderr and value else "unknown"
        rows.append((name, shown.rstrip(), error))
    return rows


def number_rows(record: FittedRecord) -> list[tuple[str, ...]]:
    """Vc, Pr and loss of a loop, or what pulses switch: name, and value as measured, by the model and by the tester."""
    shown = {"vc_plus_v": ("Vc+", 1.0, "V"), "vc_minus_v": ("Vc-", 1.0, "V")}
    shown |= {"pr_plus_c_m2": ("Pr+", 100.0, "uC/cm2"), "pr_minus_c_m2": ("Pr-", 100.0, "uC/cm2")}
    shown |= {"w_loss_j_m2": ("Wloss", 100.0, "uJ/cm2")}
    shown |= {"prrel_plus_c_m2": ("Prrel+", 100.0, "uC/cm2"), "prrel_minus_c_m2": ("Prrel-", 100.0, "uC/cm2")}
    shown |= {"p_minus_u_c_m2": ("P - U", 100.0, "uC/cm2"), "n_minus_d_c_m2": ("N - D", 100.0, "uC/cm2")}
    of = summary(record)
    return [
        (
            label,
            *(
                f"{scale * of[who][name]:.3f} {unit}" if name in of.get(who, {}) else ""
                for who in ("measured", "model", "tester")
            ),
        )
        for name, (label, scale, unit) in shown.items()
        if any(name in each for each in of.values())
    ]
