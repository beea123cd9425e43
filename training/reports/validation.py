"""The report's section on a validation: what came out, figures, a row for each neuron, and where to run it by hand."""

from typing import Any

from bruno_spice.calibration.presentation.page import Picture, Section, Table
from bruno_spice.devices.units import format_si
from bruno_spice.training.runs.folder import RunFolder, read_object, whole

PREFIX = "validation_"
CAPTIONS = {
    "matched": "Share of spikes found in SPICE, by neuron, coloured by verdict",
    "raster": "Spikes of torch and of SPICE on the piece where most lack a partner",
    "best": "The best neuron: current, voltage, residual, polarization",
    "median": "The median neuron: current, voltage, residual, polarization",
    "worst": "The worst neuron: current, voltage, residual, polarization",
    "crossbar": "Neurons with their resistors and mirrors in one deck",
}


def percent(share: float | None, digits: int = 1) -> str:
    """`share` in percent; a dash where nothing was compared."""
    return "–" if share is None else f"{share:.{digits}%}"


def volts(voltage_v: float | None) -> str:
    """`voltage_v` with an SI prefix; a dash where nothing was compared."""
    return "–" if voltage_v is None else format_si(voltage_v, "V", 3)


def failed_decks(figures: dict[str, Any]) -> str:
    """How many decks ngspice could not do, to put behind a sentence; nothing where it did all."""
    if not figures.get("decks_failed"):
        return ""
    return f"; SPICE failed on {figures['decks_failed']} of {figures['decks']} decks, which count nowhere"


def validation_sections(folder: RunFolder) -> list[Section]:
    """The section, none where the run was not validated, a word where it was trained anew since."""
    path = folder.path / "validation.json"
    if not path.is_file():
        return []
    command = f"bruno validate {folder.path}"
    figures = read_object(path, command)
    if figures.get("weights_sha256") != folder.weights_sha256():
        return [
            Section("In SPICE", f"The validation is of an earlier training; bruno validate {folder.path} renews it.")
        ]
    pictures = [
        Picture(folder.figures / f"{PREFIX}{name}.png", caption)
        for name, caption in CAPTIONS.items()
        if (folder.figures / f"{PREFIX}{name}.png").is_file()
    ]
    with whole(path, command):
        return [Section("In SPICE", _lead(figures), images=pictures, tables=[_decision(figures), _neurons(figures)])]


def _lead(figures: dict[str, Any]) -> str:
    rate = figures["rate_error"]
    text = (
        f"{len(figures['neurons'])} neurons of {figures['layer']} as {figures['circuit']['netlist']} under the "
        f"currents that they saw on {len(figures['pieces'])} test pieces: "
        f"{percent(figures['spikes_matched_fraction'], 2)} of the spikes found within 1 ms, the lowest neuron "
        + percent(figures["lowest_matched_fraction"])
        + ("" if rate is None else f", torch's mean rate {rate:+.2%}")
        + failed_decks(figures)
        + ". Verdicts: "
        + ", ".join(f"{count} {name}" for name, count in figures["verdicts"].items())
        + "."
    )
    crossbar = figures["crossbar"]
    if crossbar and "failed" not in crossbar:
        text += (
            f" One deck with {crossbar['resistors']} resistors and the mirrors of {len(crossbar['neurons'])} "
            f"neurons: currents within {format_si(crossbar['current_error_a'], 'A', 2)} of torch's over "
            f"{crossbar['milliseconds']} ms, {crossbar['spikes_matched_fraction']:.1%} of the spikes."
        )
    return " ".join([text, *(f"Note: {note}." for note in figures["notes"]), "The decks are in the folder spice."])


def _decision(figures: dict[str, Any]) -> Table:
    decision = figures["decision"]
    rows = [[name, f"{value:.4f}", f"{decision['spice'][name]:.4f}"] for name, value in decision["torch"].items()]
    rows += [[name.replace("_", " "), "", f"{value:.1%}"] for name, value in decision["agreement"].items()]
    return Table("The network's decision on these pieces", ["", "torch's neurons", "SPICE's neurons"], rows)


def _neurons(figures: dict[str, Any]) -> Table:
    header = ["neuron", "rate", "spikes torch", "SPICE", "found", "V rms", "P rms", "found by the kernel", "verdict"]
    rows = [
        [
            str(row["neuron"]),
            f"{row['rate_hz']:.0f} Hz",
            str(row["spikes_torch"]),
            str(row["spikes_spice"]),
            percent(row["matched_fraction"]),
            volts(row["voltage_rms_v"]),
            "–" if row["polarization_rms"] is None else f"{row['polarization_rms']:.3f}",
            percent(row["kernel_matched_fraction"]),
            f"{row['verdict']}: {row['reason']}",
        ]
        for row in figures["neurons"]
    ]
    caption = (
        "V and P: the card's equations against SPICE between spikes, while both have the same history. "
        "Kernel: torch against the card's equations, spikes in the same millisecond."
    )
    return Table(caption, header, rows)
