"""The RRAM cell as a target of calibration: its options, figures and part of the report."""

from pathlib import Path
from typing import Any

from bruno_spice.calibration.circuits.around import rram_deck
from bruno_spice.calibration.circuits.experiments import RRAM_NETLIST, RRAMRun, program_rrams
from bruno_spice.calibration.presentation import style
from bruno_spice.calibration.presentation.page import Picture, Section, Table
from bruno_spice.calibration.rram.calibrate import RRAMCalibration, calibrate_rram
from bruno_spice.calibration.rram.figures import conductance_against_current, relative_residual, rram_figure
from bruno_spice.calibration.targets.report import correlation, parameter_table
from bruno_spice.calibration.targets.target import Asked, Rows, Target, common, only, sampled
from bruno_spice.devices.cards.measured import MeasuredCard
from bruno_spice.devices.units import format_si


def options(asked: Asked) -> dict[str, Any]:
    """The keyword arguments of `calibrate_rram` for what was `asked`."""
    devices = {"devices": asked.monte_carlo} if asked.monte_carlo else {}
    return common(asked) | only(asked, ["variant", "currents_a"]) | devices


def summary(card: Any) -> str:
    """Fit and validation in one sentence, or what writes leave in a cell without a filament's geometry."""
    if isinstance(card, MeasuredCard):
        curve, overlap = card.set_curve, card.overlap[0]
        assert curve is not None
        return (
            f"{format_si(card['g_level_min'], 'S')} to {format_si(card['g_level_max'], 'S')} after a SET of "
            f"{format_si(curve.setting[0], 'A')} to {format_si(curve.setting[-1], 'A')}, {curve.devices} devices; "
            f"{100 * overlap.misread:.3g} % of {2**overlap.bits} levels are read as another; not known: "
            + "; ".join(card.unknown)
        )
    return (
        f"filament fitted to {card.fit['points']} SPICE points, {100 * card.validation['relative_rms']:.2f} % rms "
        f"and {100 * card.validation['relative_worst']:.2f} % worst on {card.validation['points']} held-out ones"
    )


def sections(rram: RRAMCalibration, figures: dict[str, Path]) -> list[Section]:
    """Conductance, levels, parameters."""
    return [
        Section(
            "RRAM: conductance against programming current",
            f"Read at +{rram.card['read_voltage']:g} V after a SET from the high-resistive state. The curve gives the "
            "eight levels of three bits.",
            images=[
                Picture(figures["conductance"], "Conductance against programming current"),
                Picture(figures["levels"], "Distributions of the eight levels, and RESET"),
            ],
            tables=[parameter_table(rram.card), _rram_table(rram)],
            plotly=[correlation(rram.card)],
        ),
    ]


def write_figures(folder: Path, rram: RRAMCalibration) -> dict[str, Path]:
    """Write the PNG figures; return their paths by short name."""
    out = {}
    figure = style.new_figure(2, 1, size=(9.6, 7.6), sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    conductance_against_current(figure.axes[0], rram.card, rram.fitted, rram.held_out)
    figure.axes[0].set_xlabel("")
    relative_residual(figure.axes[1], rram.card, rram.fitted)
    relative_residual(figure.axes[1], rram.card, rram.held_out, face="white")
    figure.axes[1].set_xlabel("programming current")
    out["conductance"] = style.save(figure, folder / "rram_conductance.png")
    out["levels"] = style.save(rram_figure(rram), folder / "rram_levels.png")
    return out


def _rram_table(rram: RRAMCalibration) -> Table:
    rows = [
        [str(n), format_si(g, "S"), format_si(i, "A")]
        for n, (g, i) in enumerate(zip(rram.levels.conductance_s, rram.levels.i_prog_a, strict=True))
    ]
    return Table("The eight levels of three bits (mean device)", ["level", "conductance", "programming current"], rows)


def _vary(devices: Any, currents_a: list[float], path: Path, overrides: dict[str, float], farm: Any) -> Rows:
    """A row a device and programming current: the conductance after SET."""
    cases = [(label, values, i) for label, values in sampled(devices) for i in currents_a]
    runs = [RRAMRun(i, overrides=overrides | values) for _, values, i in cases]
    return [
        {"device": label, **values, "i_prog_a": i, "g_s": float(g_s)}
        for (label, values, i), g_s in zip(cases, program_rrams(runs, path, farm), strict=True)
    ]


RRAM = Target(
    model="RRAM filament",
    calibrate=calibrate_rram,
    netlist=RRAM_NETLIST,
    deck=rram_deck,
    accepts=frozenset({"variant", "currents_a"}),
    options=options,
    summary=summary,
    figures=write_figures,
    sections=sections,
    vary=_vary,
    vary_currents="30u,60u,120u",
)
