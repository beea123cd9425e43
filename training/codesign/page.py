"""The page of a redesign: card before, asked for and recalibrated, and the scores before and after."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bruno_spice.calibration.presentation.page import Picture, Section, Table, write_page
from bruno_spice.calibration.presentation.style import MODEL_COLOUR, SPICE_COLOUR, new_figure, save
from bruno_spice.training.reports.validation import percent

LEAST_CHANGE = 1e-5
"""Parameters that change by a smaller share are not shown."""


def write_redesign_page(out: Path, found: dict[str, Any]) -> Path:
    """Write ``redesign.html`` and its pictures of `found` (`training.codesign.redesign`) into `out`."""
    rows = moved(found)
    pictures = []
    if rows:
        figure = new_figure(size=(10.4, max(3.2, 1.4 + 0.5 * len(rows))))
        changes(figure.axes[0], rows)
        pictures.append(Picture(save(figure, out / "figures" / "card.png"), "Change of each parameter of the card"))
    figure = new_figure(size=(10.4, 1.6 + 0.7 * len(found["scores"])))
    scores(figure.axes[0], found)
    picture = Picture(save(figure, out / "figures" / "scores.png"), "Test score before and after")
    sections = [
        Section("Scores", _about_scores(found), images=[picture], tables=[_scores(found)]),
        Section("Netlist", tables=[_settings(found)]),
        Section("Card", _about_card(rows), images=pictures, tables=[_parameters(rows)]),
    ]
    if found["validation"] is not None:
        sections.append(Section("Back into SPICE", tables=[_validation(found)]))
    lead = f"{found['task']}: run {found['run']} on {found['netlist']}, moved and recalibrated."
    return write_page(out / "redesign.html", "Redesign", lead, sections)


def moved(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters that were asked to change or did, with the shares by which."""
    rows = []
    for row in found["parameters"]:
        if not row["before"]:
            continue
        asked, done = (row[key] / row["before"] - 1.0 for key in ("asked", "recalibrated"))
        if max(abs(asked), abs(done)) > LEAST_CHANGE:
            rows.append(row | {"asked_share": asked, "recalibrated_share": done})
    return rows


def changes(axes: Axes, rows: list[dict[str, Any]]) -> Axes:
    """By how many per cent each parameter was asked to change, and did."""
    place = np.arange(len(rows))[::-1]
    for shift, key, colour, label in (
        (0.2, "asked_share", SPICE_COLOUR, "asked for"),
        (-0.2, "recalibrated_share", MODEL_COLOUR, "recalibrated"),
    ):
        axes.barh(place + shift, [100.0 * row[key] for row in rows], 0.38, color=colour, label=label)
    errors = [0.0 if row["stderr"] is None else 100.0 * row["stderr"] / abs(row["before"]) for row in rows]
    ends = [100.0 * row["recalibrated_share"] for row in rows]
    axes.errorbar(ends, place - 0.2, xerr=errors, fmt="none", ecolor="black", elinewidth=1.2, label="its stderr")
    axes.axvline(0.0, color="black", lw=0.8)
    axes.set_yticks(place, [row["name"] for row in rows])
    axes.set_xlabel("change (%)")
    axes.grid(axis="y", visible=False)
    axes.legend()
    return axes


def scores(axes: Axes, found: dict[str, Any]) -> Axes:
    """The test score of each stage, on a scale that shows their differences."""
    names = list(found["scores"])
    values = np.array([found["scores"][name]["test"][found["metric"]] for name in names])
    place = np.arange(len(names))[::-1]
    axes.plot(values, place, "o", ms=11, color=MODEL_COLOUR)
    for x, y in zip(values, place, strict=True):
        axes.annotate(f"{x:.4f}", (x, y), xytext=(0, 10), textcoords="offset points", ha="center", fontsize="small")
    axes.axvline(values[0], color=SPICE_COLOUR, ls="--")
    axes.set_yticks(place, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.margins(x=0.12)
    axes.set_xlabel(f"test {found['metric']} ({'more' if found['higher_is_better'] else 'less'} is better)")
    return axes


def _about_scores(found: dict[str, Any]) -> str:
    text = (
        "The run's own network with its weights as they are, and, where it was retrained, one trained on the "
        "recalibrated card from the start."
    )
    asked, recalibrated = (
        change(found, name) for name in ("same weights, card moved as asked", "same weights, recalibrated card")
    )
    if asked and recalibrated is not None:
        text += (
            f" With its weights frozen the score changes by {recalibrated:+.4f} on the recalibrated card, where "
            f"{asked:+.4f} were predicted from the card alone."
        )
    return text


def change(found: dict[str, Any], name: str) -> float | None:
    """Change of the test score from the run as trained to the stage `name`; None where there is no such stage."""
    if name not in found["scores"]:
        return None
    first, other = (found["scores"][key]["test"][found["metric"]] for key in ("as trained", name))
    return float(other - first)


def _scores(found: dict[str, Any]) -> Table:
    metrics = list(found["scores"]["as trained"]["test"])
    header = ["", *(f"{part} {metric}" for part in ("valid", "test") for metric in metrics)]
    rows = [
        [name, *(f"{stage[part][n]:.4f}" if n in stage[part] else "–" for part in ("valid", "test") for n in metrics)]
        for name, stage in found["scores"].items()
    ]
    return Table("Scores", header, rows)


def _settings(found: dict[str, Any]) -> Table:
    rows = [
        [name, "–" if before is None else f"{before:.6g}", f"{found['settings'][name]:.6g}"]
        for name, before in found["settings_before"].items()
    ]
    return Table(found["netlist"], [".param", "before", "now"], rows)


def _about_card(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No parameter changed."
    return (
        "Asked for: what the netlist's numbers say, or move in proportion. Recalibrated: what the fit to the moved "
        "netlist found. The others are as before."
    )


def _parameters(rows: list[dict[str, Any]]) -> Table:
    cells = [
        [
            row["name"],
            row["unit"],
            f"{row['before']:.5g}",
            f"{row['asked']:.5g}",
            f"{row['recalibrated']:.5g}",
            f"{100 * row['asked_share']:+.2f} %",
            f"{100 * row['recalibrated_share']:+.2f} %",
            "–" if row["stderr"] is None else f"{100 * row['stderr'] / abs(row['recalibrated']):.2g} %",
        ]
        for row in rows
    ]
    header = ["parameter", "unit", "before", "asked for", "recalibrated", "asked", "found", "its stderr"]
    return Table("Parameters that changed", header, cells)


def _validation(found: dict[str, Any]) -> Table:
    both = {"as trained": found["validation_before"], "retrained": found["validation"]}
    rows = [
        [
            name,
            percent(figures["spikes_matched_fraction"], 2),
            str(figures["spikes_torch"]),
            str(figures["spikes_spice"]),
            ", ".join(f"{count} {verdict}" for verdict, count in figures["verdicts"].items()),
        ]
        for name, figures in both.items()
        if figures is not None
    ]
    return Table("Neurons in SPICE", ["", "found within 1 ms", "spikes torch", "SPICE", "verdicts"], rows)
