"""A run's folder: configuration, cards, metrics, checkpoints, result, figures. Files appear whole or not at all."""

import hashlib
import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bruno_spice.calibration.cards.catalogue import calibrated_card
from bruno_spice.devices.cards.base import Card, FeLIFCard, RRAMCard
from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.devices.files import folder_lock, write_atomic
from bruno_spice.devices.reading import MOST_JSON_BYTES, load_json, parse_json, read_bytes, read_text, shown
from bruno_spice.training.config import MAY_CHANGE_ON_RESUME, RunConfig, load_config

LEFT_BEHIND = (
    "checkpoint.*", "best.safetensors", "metrics.jsonl", "result.json", "report.html", "validation.json",
    "cards/*.json", "figures/*.png", "programming/*.csv", "spice/*.cir", "tensorboard/events*",
)  # fmt: skip
"""The files of a run."""
SEAL = "sha256"
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
        if config.neuron.values:
            felif = felif.with_values(**config.neuron.values)
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

    def begin(self, config: RunConfig, cards: Cards | None) -> None:
        """Write down what the run is made of; `cards` is None where the run goes on with its own."""
        write_atomic(self.path / "config.yaml", config.to_yaml())
        for name, card in ({} if cards is None else cards.by_name()).items():
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
        for kind in _kinds(config):
            if not (path := self.path / "cards" / f"{kind}.json").is_file():
                raise CardError(f"{path}: the run's own card is missing; put it back, or train anew with --overwrite")
        rram = RRAMCard.load(self.path / "cards" / "rram.json") if config.synapse.kind == "rram" else None
        return Cards(FeLIFCard.load(self.path / "cards" / "felif.json"), rram)

    def identity(self, config: RunConfig) -> str:
        """Which run this is: SHA-256 of `config`, but for what may change on the way, and of the run's own cards.

        The files of weights name it, so that a changed configuration or card is noticed.
        """
        parts = json.dumps([lasting(config), self.card_hashes(config)], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()

    def card_hashes(self, config: RunConfig) -> dict[str, str]:
        """SHA-256 of the run's own copy of each card, the file as it is."""
        paths = {kind: self.path / "cards" / f"{kind}.json" for kind in _kinds(config)}
        return {
            kind: hashlib.sha256(read_bytes(path, MOST_JSON_BYTES, error=CardError)).hexdigest()
            for kind, path in paths.items()
        }

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep the folder to this command. Raises `BusyError` where another writes there, `InputError` for a link."""
        for path in (
            self.path / name for name in sorted({each.partition("/")[0] for each in LEFT_BEHIND if "/" in each})
        ):
            if path.is_symlink():
                raise InputError(f"{path}: a link to elsewhere; nothing is written or deleted through it")
        with folder_lock(self.path):
            yield

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """All epochs so far."""
        write_atomic(self.metrics, "".join(json.dumps(row) + "\n" for row in history))

    def read_metrics(self) -> list[dict[str, Any]]:
        """All epochs so far, as they were written."""
        lines = read_text(self.metrics, MOST_JSON_BYTES).splitlines()
        return [parse_json(line, f"{self.metrics}:{number}") for number, line in enumerate(lines, 1)]

    def write_result(self, result: dict[str, Any]) -> None:
        """The result, `sealed`."""
        write_atomic(self.result, json.dumps(result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """The result. Raises `InputError` where the run has not ended or the file is damaged."""
        if not self.result.is_file():
            raise InputError(
                f"{self.path}: the run has not ended; `bruno train --out {self.path} --resume` goes on with it"
            )
        return read_object(self.result, f"bruno train --out {self.path} --resume")


def check_cards(folder: RunFolder, config: RunConfig, result: dict[str, Any]) -> None:
    """Raise `CardError` where a card in the folder is not the one that its `result` was computed with."""
    kept = result.get("card_files")
    for kind, found in folder.card_hashes(config).items():
        if not isinstance(kept, dict) or kept.get(kind) != found:
            raise CardError(
                f"{folder.path / 'cards' / kind}.json: not the card that the run was trained with; put it back, or "
                "train anew with --overwrite"
            )


def lasting(config: RunConfig) -> dict[str, Any]:
    """What is not the default of `config`, without what may change from one command on a run to the next."""
    values = config.model_dump(mode="json", exclude_defaults=True)
    for name in MAY_CHANGE_ON_RESUME:
        values.get("training", {}).pop(name, None)
    if not values.get("training"):
        values.pop("training", None)
    for name in ("device", "threads"):
        values.pop(name, None)
    return values


def _kinds(config: RunConfig) -> tuple[str, ...]:
    """The cards of a run."""
    return ("felif", "rram") if config.synapse.kind == "rram" else ("felif",)


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """`content`, plain values, with the SHA-256 of the rest under `SEAL`; what `read_object` takes."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    return rest | {SEAL: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def read_object(path: Path, command: str) -> dict[str, Any]:
    """The `sealed` JSON object at `path`. Raises `InputError`, which says what `command` writes it anew, for others."""
    try:
        content = load_json(path)
    except InputError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged, not a JSON object; `{command}` writes it anew")
    if content.get(SEAL) != sealed(content)[SEAL]:
        raise InputError(f"{path}: changed since it was written, or of an older version; `{command}` writes it anew")
    return content


@contextmanager
def whole(path: Path, command: str) -> Iterator[None]:
    """Within the block, what the object at `path` lacks is one sentence, which says that `command` writes it anew."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else shown(str(error))
        raise InputError(f"{path}: not as it was written ({reason}); `{command}` writes it anew") from None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
