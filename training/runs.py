"""A run's folder: configuration, cards, metrics, checkpoints, result, figures. Files appear whole or not at all."""

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from calibration.cards import calibrated_card
from devices.card import Card, FeLIFCard, RRAMCard
from devices.errors import CardError, InputError
from devices.files import write_atomic
from training.config import RunConfig, load_config

LEFT_BEHIND = (
    "checkpoint.*", "best.safetensors", "metrics.jsonl", "result.json", "report.html", "validation.json",
    "cards/*.json", "figures/*.png", "programming/*.csv", "spice/*.cir", "tensorboard/events*",
)  # fmt: skip
"""The files of a run."""
PACKAGES = ("bruno-spice", "torch", "numpy", "numba", "scipy")


@dataclass(frozen=True)
class Cards:
    """The devices of a run; `rram` is None where the weights have no device."""

    felif: FeLIFCard
    rram: RRAMCard | None

    @classmethod
    def of(cls, config: RunConfig) -> "Cards":
        """The cards that `config` names. Raises `CardError` where one is missing or malformed."""
        felif = FeLIFCard.published() if config.neuron.card == "published" else None
        if felif is None:
            felif = FeLIFCard.load(_card_path(config.neuron.card, "felif"))
        rram = RRAMCard.load(_card_path(config.synapse.card, "rram")) if config.synapse.kind == "rram" else None
        for kind, name, card in (("neuron", config.neuron.card, felif), ("synapse", config.synapse.card, rram)):
            if card is not None and card.doubt and name == "calibrated":
                raise CardError(
                    f"{_card_path(name, card.model)}: its fit is not to be believed ({card.doubt}); calibrate anew, or "
                    f"name the file in {kind}.card to train with it all the same"
                )
        return cls(felif, rram)

    def by_name(self) -> dict[str, Card]:
        """``felif`` and, if there is one, ``rram``."""
        return {"felif": self.felif} | ({"rram": self.rram} if self.rram else {})

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each card's JSON text."""
        return {name: hashlib.sha256(card.to_json().encode()).hexdigest() for name, card in self.by_name().items()}


def _card_path(name: str, kind: str) -> Path:
    """The card's own path, or the calibrated one."""
    return calibrated_card(kind) if name == "calibrated" else Path(name)


@dataclass(frozen=True)
class RunFolder:
    """The files of the run at `path`."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The last state, for ``--resume``."""
        return self.path / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        """The weights and devices of the best validation epoch."""
        return self.path / "best.safetensors"

    @property
    def metrics(self) -> Path:
        """A JSON line an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """The result as JSON."""
        return self.path / "result.json"

    @property
    def figures(self) -> Path:
        """Folder of pictures."""
        return self.path / "figures"

    def clear(self) -> None:
        """Take away what an earlier run left here."""
        for pattern in LEFT_BEHIND:
            for path in self.path.glob(pattern):
                path.unlink()

    def begin(self, config: RunConfig, cards: Cards) -> None:
        """Write down what the run is made of."""
        write_atomic(self.path / "config.yaml", config.to_yaml())
        for name, card in cards.by_name().items():
            card.save(self.path / "cards" / f"{name}.json")

    def load_config(self, trust_code: bool = False) -> RunConfig:
        """The run's configuration.

        Raises `InputError` where there is no run, and, without `trust_code`, where its task is a Python file.
        """
        if not (self.path / "config.yaml").is_file():
            raise InputError(
                f"{self.path}: no run here (config.yaml is missing); give a folder that `bruno train` wrote"
            )
        return load_config(self.path / "config.yaml", trust_code)

    def load_cards(self, config: RunConfig) -> Cards:
        """The run's own copies of its cards. Raises `CardError` where one is missing or malformed."""
        for kind in ("felif", "rram") if config.synapse.kind == "rram" else ("felif",):
            if not (path := self.path / "cards" / f"{kind}.json").is_file():
                raise CardError(f"{path}: the run's own card is missing; put it back, or train anew with --overwrite")
        rram = RRAMCard.load(self.path / "cards" / "rram.json") if config.synapse.kind == "rram" else None
        return Cards(FeLIFCard.load(self.path / "cards" / "felif.json"), rram)

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """All epochs so far."""
        write_atomic(self.metrics, "".join(json.dumps(row) + "\n" for row in history))

    def read_metrics(self) -> list[dict[str, Any]]:
        """All epochs so far, as they were written."""
        return [json.loads(line) for line in self.metrics.read_text().splitlines()]

    def write_result(self, result: dict[str, Any]) -> None:
        """The result, a dictionary of plain values."""
        write_atomic(self.result, json.dumps(result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """The result. Raises `InputError` where the run has not ended or the file is damaged."""
        if not self.result.is_file():
            raise InputError(
                f"{self.path}: the run has not ended; `bruno train --out {self.path} --resume` goes on with it"
            )
        return read_object(self.result, f"bruno train --out {self.path} --resume")


def read_object(path: Path, command: str) -> dict[str, Any]:
    """The JSON object at `path`. Raises `InputError`, which says that `command` writes it anew, for anything else."""
    try:
        content = json.loads(path.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged, not a JSON object; `{command}` writes it anew")
    return content


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
