"""What a validation leaves in the run folder: validation.json, decks to run by hand, figures, the report anew."""

import json
from pathlib import Path

from bruno_spice.calibration.circuits.experiments import NeuronRun, neuron_jobs
from bruno_spice.calibration.presentation.style import save
from bruno_spice.devices.files import write_atomic
from bruno_spice.training.reports.run import write_run_report
from bruno_spice.training.reports.validation import PREFIX, percent, volts
from bruno_spice.training.roundtrip.compare import Trial, match_trial
from bruno_spice.training.roundtrip.figures import bars_figure, crossbar_figure, raster_figure, voltage_figure
from bruno_spice.training.roundtrip.validate import RoundTrip
from bruno_spice.training.roundtrip.verdict import NeuronRow
from bruno_spice.training.runs.folder import RunFolder, sealed

DECKS = ("best", "median", "worst", "crossbar")


def write_outputs(run_dir: Path | str, result: RoundTrip) -> list[Path]:
    """Write everything into the run folder `run_dir`; returns the paths that a reader opens."""
    folder = RunFolder(Path(run_dir))
    for old in (*folder.figures.glob(f"{PREFIX}*.png"), *((folder.path / "spice" / f"{name}.cir") for name in DECKS)):
        old.unlink(missing_ok=True)
    save(bars_figure(result.rows), folder.figures / f"{PREFIX}matched.png")
    if any(result.trials.values()):
        save(raster_figure(result.trials), folder.figures / f"{PREFIX}raster.png")
    for name, (row, trial) in samples(result).items():
        title = (
            f"{name}: neuron {row.neuron} on test piece {trial.piece}, {percent(row.matched_fraction)} of its spikes "
            f"found, {volts(row.voltage_rms_v)} rms"
        )
        save(voltage_figure(trial, title), folder.figures / f"{PREFIX}{name}.png")
        write_atomic(folder.path / "spice" / f"{name}.cir", deck_text(result, row.neuron, trial))
    if result.crossbar:
        neurons = [row["neuron"] for row in result.figures["crossbar"]["neurons"]]
        save(crossbar_figure(result.crossbar, neurons), folder.figures / f"{PREFIX}crossbar.png")
        write_atomic(folder.path / "spice" / "crossbar.cir", result.crossbar_deck)
    written = [write_atomic(folder.path / "validation.json", json.dumps(sealed(result.figures), indent=2) + "\n")]
    if folder.result.is_file():
        written.append(write_run_report(folder.path))
    return written


def samples(result: RoundTrip) -> dict[str, tuple[NeuronRow, Trial]]:
    """The best, the median and the worst neuron by found spikes and voltage, each on the piece that shows it most.

    Fewer where there are fewer neurons.
    """
    spiking = [row for row in result.rows if row.spikes_torch + row.spikes_spice]
    ranked = sorted(spiking, key=lambda row: (-(row.matched_fraction or 0.0), row.voltage_rms_v or 0.0))
    if not ranked:
        return {}
    last = len(ranked) - 1
    names = {last // 2: "median", last: "worst", 0: "best"}
    return {name: (ranked[k], _telling(result.trials[ranked[k].neuron])) for k, name in sorted(names.items())}


def _telling(trials: list[Trial]) -> Trial:
    """The trial with the most spikes without a partner, and among equals with the most spikes."""

    def weight(trial: Trial) -> tuple[int, int]:
        matching = match_trial(trial)
        lonely = sum(times.size for times in matching.lonely())
        return lonely, matching.torch_s.size

    return max(trials, key=weight)


def deck_text(result: RoundTrip, neuron: int, trial: Trial) -> str:
    """The deck of one trial; runs by hand with ``ngspice -b -r out.raw FILE``."""
    run = NeuronRun(trial.stimulus, trial.t_stop_s, result.overrides[neuron])
    return neuron_jobs([run], result.netlist)[0].deck
