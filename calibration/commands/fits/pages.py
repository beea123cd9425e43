"""The report of a measured fit as one HTML page: overlays, what is left, parameters and what determines them.

What the page says is what the command prints and what the card or the ``.json`` holds; the pictures are those that lie
beside it. "Goes with" names the parameter whose error is correlated most with that of a row, and by how much.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bruno_spice.calibration.fecap.fit import FeCAPFit
from bruno_spice.calibration.fecap.predict import Prediction
from bruno_spice.calibration.fecap.result import notes, number_rows, parameter_rows
from bruno_spice.calibration.presentation.page import Picture, Section, Table, write_page
from bruno_spice.calibration.rram.measured import MeasuredFit
from bruno_spice.calibration.targets.neuron import comparison_table
from bruno_spice.calibration.targets.report import correlation
from bruno_spice.calibration.traces.fit import TraceFit
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.units import format_duration, format_si

SHOWN_BY = {
    "eps_hzo": "slope of charge against voltage before the film switches",
    "saturation_polarization": "charge of the plateau",
    "thickness_int": "slope of the plateau",
    "alpha": "rise of the plateau's level with the current",
    "activation_field": "level of the plateau",
    "domain_weight": "bends of the plateau",
    "leak_discharge": "charge that the slowest traces need beyond the fast ones",
    "leak_density": "bend of the slowest traces below the threshold",
}
"""Of a neuron's fitted parameters: the part of a trace that determines each."""


def neuron_page(path: Path, found: TraceFit, figure: Path) -> Path:
    """The page of a fit to traces, with the `figure` beside the card."""
    card = found.card
    rows = []
    for name, each in card.parameters.items():
        stem, _, index = name.rpartition("_")
        by = SHOWN_BY.get(name) or (SHOWN_BY.get(stem, "") if index.isdigit() else "")
        fitted = each.source.startswith("fit") and by
        source = f"{each.source}, by the {by}" if fitted else each.source
        rows.append([name, f"{each.value:.5g}", each.unit, _error(each.value, each.stderr), source])
    tables = [Table("Parameters of the card", ["parameter", "value", "unit", "stderr", "from"], rows)]
    read = [[each.name, "; ".join(each.said)] for each in (*found.fitted, *found.held_out)]
    judged = [comparison_table(found.held_out_comparisons, whose="measured")] if found.held_out else []
    sections = [
        Section("Traces over the model", "Measured in grey, the card's model in blue; below each the difference.",
                images=[Picture(figure, "Traces over the model, with residuals")]),
        Section("Held-out and fitted traces", "Voltage is compared up to the first spike of either, and (all) over the "
                "whole trace but for the spikes.",
                tables=[*judged, comparison_table(found.fitted_comparisons, "Fitted", "measured")]),
        Section("Parameters", tables=[*tables, _partners(card)],
                plotly=[correlation(card)] if card.covariance.names else []),
        Section("How it was read", tables=[_listed("Traces", read), _listed("Notes", _numbered(found.said))]),
        _origin(card),
    ]  # fmt: skip
    return _written(path, "A neuron from its traces", _lead(card.doubt, "Staged fit of traces in files."), sections)


def fecap_page(
    path: Path, found: FeCAPFit, names: Sequence[str], seen: Sequence[tuple[str, Prediction]], figures: Sequence[Path]
) -> Path:
    """The page of a film; `seen` are the predictions with their names, `figures` fitted and predicted overlays."""
    fitted = [list(row) for row in parameter_rows(found)]
    matrix, free = found.fit.matrix, [f.name for f in found.fit.free]
    with_partner = [[*row, _partner(row[0], free, matrix)] for row in fitted]
    fixed = [[name, f"{found.problem.value(name):.4g}", why] for name, why in found.not_determined.items()]
    records = [
        [name, f"{each.rms:.4g} {each.measured.unit}", f"{100 * each.rms_of_span:.2f} %", f"{each.autocorrelation:.2f}"]
        for name, each in zip(names, found.records, strict=True)
    ]
    records += [
        [f"{name} (predicted)", f"{one.record.rms:.4g} {one.record.measured.unit}",
         f"{100 * one.record.rms_of_span:.2f} %", f"{one.record.autocorrelation:.2f}"]
        for name, one in seen
    ]  # fmt: skip
    all_records = [
        *zip(names, found.records, strict=True),
        *((f"{name} (predicted)", one.record) for name, one in seen),
    ]
    numbers = [[name, *row] for name, each in all_records for row in number_rows(each)]
    terms = [
        [
            name,
            f"{100 * each.without:.2f} %",
            f"{100 * each.held_out:.2f} %",
            "kept" if each.kept or each.named else "left out",
        ]
        for name, each in found.terms.items()
    ]
    sections = [
        Section("Records over the model", "Measured in grey, ngspice with the fitted film in blue; below what is left.",
                images=[Picture(figure, "Measured over the model, with residuals") for figure in figures],
                tables=[Table("What is left", ["record", "rms", "of the span", "correlation of neighbours"], records)]),
        Section("Measured, model and tester", "Read off loops or pulses alike; the tester's where its file has them.",
                tables=[_listed("", numbers, ["record", "", "measured", "model", "the tester says"])]),
        Section("Parameters", tables=[
            Table("Fitted", ["parameter", "value", "stderr", "goes with"], with_partner),
            _listed("Not determined by these records", fixed, ["parameter", "value", "why"]),
            _listed("Optional terms, error on samples left out", terms, ["term", "without", "with", ""])]),
        Section("Notes", tables=[_listed("", _numbered(notes(found, names)))]),
    ]  # fmt: skip
    return _written(path, "A film from its records", _lead(found.doubt, ", ".join(names)), sections)


def rram_page(path: Path, found: MeasuredFit, figure: Path) -> Path:
    """The page of measured cells, with the `figure` beside the card."""
    card = found.card
    held = [
        [_when(row["time_s"]), format_si(row["spread_s"], "S", 3), format_si(row["model_spread_s"], "S", 3),
         *(f"{100 * row[name]:.0f} %" for name in ("relative_error_worst", "halves_worst")),
         *(f"{100 * row[name]:.3g} %" for name in ("misread", "model_misread"))]
        for row in (card.validation or {}).get("times", [])
    ]  # fmt: skip
    overlap = [
        [_when(at.time_s), f"{2**at.bits}", f"{100 * at.misread:.3g} %", f"{100 * max(at.by_level):.3g} %"]
        for at in card.overlap
    ]
    heads = [
        "time since writing",
        "spread of a level",
        "the card's",
        "worst of 8 off by",
        "halves differ by",
        "misread",
        "the card's",
    ]
    sections = [
        Section("Measured over the card", images=[Picture(figure, "SET curve, relaxation, misread levels, noise")]),
        Section("Devices that the card did not see", "Every second device was left out and compared with a card of the "
                "others. The halves are those devices and the others, both as measured.",
                tables=[_listed("", held, heads)]),
        Section("Levels", tables=[_listed("Read as another level, by the card",
                                          overlap, ["time since writing", "levels", "all", "worst level"])]),
        Section("Not known", tables=[_listed("", _numbered(card.unknown))]),
        Section("Notes", tables=[_listed("", _numbered(found.said))]),
        _origin(card),
    ]  # fmt: skip
    return _written(path, "RRAM cells from their readings", _lead(card.doubt, "Measured cells."), sections)


def _lead(doubt: str, said: str) -> str:
    return f"NOT TO BE BELIEVED: {doubt}" if doubt else said


def _error(value: float, stderr: float | None) -> str:
    return "–" if stderr is None or not value else f"{100 * stderr / abs(value):.2g} %"


def _when(time_s: float) -> str:
    return format_duration(time_s) if time_s else "right after"


def _numbered(sentences: Sequence[str]) -> list[list[str]]:
    return [[str(n), sentence] for n, sentence in enumerate(sentences, 1)]


def _listed(caption: str, rows: list[list[str]], heads: list[str] | None = None) -> Table:
    width = len(rows[0]) if rows else 1
    return Table(caption, heads or [""] * width, rows)


def _written(path: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """The page of what is there: tables without a row and sections without anything are left out."""
    full = [replace(each, tables=[table for table in each.tables if table.rows]) for each in sections]
    return write_page(path, title, lead, [each for each in full if each.images or each.plotly or each.tables])


def _partner(name: str, free: Sequence[str], matrix: "np.ndarray") -> str:
    """The parameter whose error goes with that of `name` most, with the correlation; empty where it is not known."""
    if name not in free or not matrix.size or len(free) < 2:
        return ""
    sigma = np.sqrt(np.diag(matrix))
    row = matrix[free.index(name)] / (sigma * sigma[free.index(name)])
    row[free.index(name)] = 0.0
    at = int(np.argmax(np.abs(row)))
    return f"{free[at]} ({row[at]:+.2f})"


def _partners(card: Card) -> Table:
    free, matrix = card.covariance.names, np.array(card.covariance.matrix)
    return _listed(
        "Errors that go together", [[each, _partner(each, free, matrix)] for each in free], ["parameter", "goes with"]
    )


def _origin(card: Card) -> Section:
    origin = card.provenance
    rows = [["files", origin.netlist], ["SHA-256", origin.sha256], ["command", origin.command], ["date", origin.date]]
    return Section("Where it comes from", tables=[Table("", ["", ""], rows)])
