"""The report of a run: one HTML page with its scores beside the floors, its curves, its pictures, its devices."""

from pathlib import Path
from typing import Any

import yaml

from bruno_spice.calibration.cards.catalogue import CARD_TYPES
from bruno_spice.calibration.presentation.page import Picture, Section, Table, write_page
from bruno_spice.devices.cards.base import Card
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.reports.retention import is_stale, retention_sections
from bruno_spice.training.reports.validation import PREFIX, validation_sections
from bruno_spice.training.runs.folder import RunFolder, check_cards, kept_models, whole

CAPTIONS = {
    "training": "Training and validation score against epoch, with the floors of simple models",
    "activity": "Firing rates and gradient norms against epoch",
    "prediction": "One test piece: what the network predicts and what Bach wrote",
    "retention": "Test score against the time since the devices were written",
    "confusion": "Test trials by true and predicted class",
}


def write_run_report(run: Path) -> Path:
    """Write ``report.html`` into the run folder `run`; return its path. Raises `InputError` where no run has ended."""
    folder = RunFolder(run)
    config = folder.load_config(trust_code=True)  # a report runs nothing of it
    result = folder.read_result()
    models = kept_models(config, result)
    cards = {model: CARD_TYPES[model].load(folder.card_file(model)) for model in models}
    check_cards(folder, models, result)
    pictures = [
        Picture(path, CAPTIONS.get(path.stem, path.stem.replace("_", " ")))
        for path in sorted(folder.figures.glob("*.png"))
        if not path.name.startswith(PREFIX)
        and path.is_file()
        and not path.is_symlink()
        and not is_stale(folder, path.stem)
    ]
    with whole(folder.result, f"bruno train --out {folder.path} --resume"):
        lead = _lead(result)
        sections = [Section("Scores", tables=[_scores(result), _effort(result)]), Section("Pictures", images=pictures)]
        devices = [_device(name, card, result) for name, card in cards.items()]
    sections += [
        *validation_sections(folder),
        *retention_sections(folder, cards),
        Section("Devices", tables=devices),
        Section("Configuration", tables=[Table("config.yaml", ["setting", "value"], configuration(config))]),
    ]
    return write_page(run / "report.html", f"Run {run.name}", lead, sections)


def _lead(result: dict[str, Any]) -> str:
    metric = result["metric"]
    return (
        f"{result['task']}: test {metric} {result['test'][metric]:.4f} after epoch {result['best_epoch']} of "
        f"{result['epochs']}, the best by validation {result.get('criterion', metric)}. Data: {result['source']}."
    )


def _scores(result: dict[str, Any]) -> Table:
    names = list(result["test"] | result["valid"])
    found = {part: result[part] for part in ("valid", "test")}
    found |= {f"floor on test: {floor}": scores for floor, scores in result["floors"].items()}
    rows = [[head, *(f"{scores[n]:.4f}" if n in scores else "–" for n in names)] for head, scores in found.items()]
    return Table("Scores", ["", *names], rows)


def _effort(result: dict[str, Any]) -> Table:
    rows = [
        ["pieces or trials", ", ".join(f"{count} {part}" for part, count in result["split"].items())],
        ["seed", str(result["seed"])],
        ["wall time", f"{result['wall_time_s']:.0f} s"],
        ["peak memory", f"{result['peak_memory_bytes'] / 2**20:.0f} MiB"],
    ]
    return Table("What it took", ["", ""], rows)


def _device(name: str, card: Card, result: dict[str, Any]) -> Table:
    origin = card.provenance
    rows = [
        ["card SHA-256", result["cards"][name]],
        ["netlist", origin.netlist or "published constants"],
        ["netlist SHA-256", origin.sha256 or "–"],
        ["simulator", origin.simulator or "–"],
        ["calibrated", origin.date or "–"],
    ]
    return Table(f"{name} card", ["", ""], rows)


def configuration(config: RunConfig) -> list[list[str]]:
    """A setting a row, named as ``bruno train --set`` takes it, and its value."""
    rows: list[list[str]] = []
    for section, value in config.model_dump(mode="json").items():
        nested = isinstance(value, dict) and section != "task_options"
        rows += (
            [[f"{section}.{key}", _yaml(inner)] for key, inner in value.items()]
            if nested
            else [[section, _yaml(value)]]
        )
    return rows


def _yaml(value: Any) -> str:
    """`value` as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
