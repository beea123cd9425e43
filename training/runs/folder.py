"""A run's folder: configuration, cards, metrics, checkpoints, result, figures. Files appear whole or not at all."""

import hashlib
import json
import platform
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bruno_spice.calibration.cards.catalogue import CARD_TYPES
from bruno_spice.devices.cards.base import Card
from bruno_spice.devices.cards.calibrated import calibrated_card
from bruno_spice.devices.cards.parts import Covariance, Parameter, Proposal
from bruno_spice.devices.errors import CardError, InputError
from bruno_spice.devices.files import folder_lock, write_atomic
from bruno_spice.devices.reading import MOST_JSON_BYTES, load_json, parse_json, read_bytes, read_text, shown
from bruno_spice.devices.registry import Registry, is_code
from bruno_spice.training.networks.config import RunConfig
from bruno_spice.training.networks.config_file import MAY_CHANGE_ON_RESUME, load_config
from bruno_spice.training.neurons import NEURONS
from bruno_spice.training.neurons.shared import SharedDevices
from bruno_spice.training.runs.checkpoint import MOST_BYTES
from bruno_spice.training.synapses import SYNAPSES

LEFT_BEHIND = (
    "checkpoint.*", "best.safetensors", "metrics.jsonl", "result.json", "report.html", "validation.json",
    "codesign.json", "retention.json",
    "cards/*.json", "figures/*.png", "programming/*.csv", "spice/*.cir", "tensorboard/events*",
)  # fmt: skip
"""The files of a run."""
SEAL = "sha256"
PACKAGES = ("bruno-spice", "torch", "numpy", "numba", "scipy")


@dataclass(frozen=True)
class Cards:
    """The devices of a run; None where neurons or weights are made without a card."""

    neuron: Card | None
    synapse: Card | None

    @classmethod
    def of(cls, config: RunConfig) -> "Cards":
        """The cards that `config` names. Raises `CardError` where one is missing or malformed."""
        neuron, synapse = card_types(config)
        return cls(
            _card("neuron", neuron, config.neuron.card, config.neuron.values),
            _card("synapse", synapse, config.synapse.card, {}),
        )

    def by_name(self) -> dict[str, Card]:
        """By model: ``felif``, ``rram``."""
        return {card.MODEL: card for card in (self.neuron, self.synapse) if card is not None}

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each card's JSON text."""
        return {name: hashlib.sha256(card.to_json().encode()).hexdigest() for name, card in self.by_name().items()}


def card_types(config: RunConfig, run_code: bool = True) -> tuple[type[Card] | None, type[Card] | None]:
    """What kinds of card the neurons and the weights of `config` are made from.

    Runs the code that it names; without `run_code` that counts as none.
    """
    neurons = [name for name in (config.network.neuron, config.network.output_neuron) if name != "none"]
    kinds: list[tuple[Registry[Any], list[str]]] = [(NEURONS, neurons), (SYNAPSES, [config.synapse.kind])]
    found = ([known.find(name).card for name in names if run_code or not is_code(name)] for known, names in kinds)
    neuron, synapse = (next((card for card in cards if card is not None), None) for cards in found)
    return neuron, synapse


def card_models(config: RunConfig) -> list[str]:
    """The models of the cards of `config`; runs the code that it names."""
    return [card.MODEL for card in card_types(config) if card is not None]


def kept_models(config: RunConfig, result: dict[str, Any]) -> list[str]:
    """The models of the cards of the run of `config` with `result`, told without running code."""
    known = [card.MODEL for card in card_types(config, run_code=False) if card is not None]
    files = result.get("card_files")
    return [model for model in CARD_TYPES if model in known or (isinstance(files, dict) and model in files)]


def _card(key: str, kind: type[Card] | None, name: str, values: dict[str, float]) -> Card | None:
    """The card of `kind` that the configuration has at `key`, with `values` replaced."""
    if kind is None:
        return None
    published = getattr(kind, "published", None) if name == "published" else None
    path = calibrated_card(kind.MODEL) if name == "calibrated" else Path(name)
    card: Card = published() if published else kind.load(path)
    card = card.with_values(**values) if values else card
    if card.doubt and name == "calibrated":
        raise CardError(
            f"{path}: its fit is not to be believed ({card.doubt}); calibrate anew, or name the file in {key}.card to "
            "train with it all the same"
        )
    return card


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
    def begun(self) -> bool:
        """Whether a checkpoint, or anything that an epoch leaves, is there."""
        return any(path.exists() for path in (self.checkpoint, self.best, self.result))

    @property
    def metrics(self) -> Path:
        """A JSON line an epoch."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """The result as JSON."""
        return self.path / "result.json"

    @property
    def retention(self) -> Path:
        """Scores against the time since the devices were written, as JSON."""
        return self.path / "retention.json"

    @property
    def figures(self) -> Path:
        """Folder of pictures."""
        return self.path / "figures"

    def weights_sha256(self) -> str:
        """Hash of the best weights: what tells which training an analysis belongs to."""
        return hashlib.sha256(read_bytes(self.best, MOST_BYTES)).hexdigest()

    def of_others(self) -> Path | None:
        """A file with a name of a run's, where no run has ever begun; None without."""
        if self.begun or (self.path / "config.yaml").is_file():
            return None
        return next((path for pattern in LEFT_BEHIND for path in sorted(self.path.glob(pattern))), None)

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

    def load_config(self, trust_code: bool = False, chosen: Collection[str] = ()) -> RunConfig:
        """The run's configuration. Raises `InputError` where there is no run, and as `config_file.load_config`."""
        if not (self.path / "config.yaml").is_file():
            raise InputError(
                f"{self.path}: no run here (config.yaml is missing); give a folder that `bruno train` wrote"
            )
        return load_config(self.path / "config.yaml", trust_code, chosen)

    def card_file(self, model: str) -> Path:
        """The run's own copy of its card of `model`. Raises `CardError` where it is missing."""
        if not (path := self.path / "cards" / f"{model}.json").is_file():
            raise CardError(f"{path}: the run's own card is missing; put it back, or train anew with --overwrite")
        return path

    def proposed_file(self, model: str) -> Path:
        """The card of `model` that the run proposes, where it trained device parameters."""
        return self.path / "cards" / f"{model}-proposed.json"

    def write_proposal(self, shared: SharedDevices, run_sha256: str) -> Path:
        """Write the card with the trained parameters of `shared`, marked as proposed by this run.

        What calibration found out about the fit of the card that they were moved from does not hold for it.
        """
        start = shared.card
        moved = {
            name: Parameter(value=value, unit=start.parameters[name].unit, source=f"proposed by run {self.path.name}")
            for name, value in shared.values().items()
        }
        proposal = Proposal(
            run=self.path.name,
            run_sha256=run_sha256,
            card_sha256=hashlib.sha256(start.to_json().encode()).hexdigest(),
            parameters=list(moved),
        )
        changed = {
            "parameters": start.parameters | moved,
            "provenance": start.provenance.model_copy(update={"proposal": proposal}),
            "covariance": Covariance(),
            "fit": {},
            "validation": {},
        }
        return start.model_copy(update=changed).save(self.proposed_file(start.MODEL))

    def load_cards(self, config: RunConfig) -> Cards:
        """The run's own copies of its cards. Raises `CardError` where one is missing or malformed."""
        neuron, synapse = (None if kind is None else kind.load(self.card_file(kind.MODEL))
                           for kind in card_types(config))  # fmt: skip
        return Cards(neuron, synapse)

    def identity(self, config: RunConfig) -> str:
        """Which run this is: SHA-256 of `config`, but for what may change on the way, and of the run's own cards.

        The files of weights name it, so that a changed configuration or card is noticed.
        """
        parts = json.dumps([lasting(config), self.card_hashes(card_models(config))], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()

    def card_hashes(self, models: Iterable[str]) -> dict[str, str]:
        """SHA-256 of the run's own copy of the card of each of `models`, the file as it is."""
        paths = {model: self.path / "cards" / f"{model}.json" for model in models}
        return {
            model: hashlib.sha256(read_bytes(path, MOST_JSON_BYTES, error=CardError)).hexdigest()
            for model, path in paths.items()
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

    def write_retention(self, found: dict[str, Any]) -> None:
        """What `training.runs.retention` found, `sealed`."""
        write_atomic(self.retention, json.dumps(sealed(found), indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """The result. Raises `InputError` where the run has not ended or the file is damaged."""
        if not self.result.is_file():
            raise InputError(
                f"{self.path}: the run has not ended; `bruno train --out {self.path} --resume` goes on with it"
            )
        return read_object(self.result, f"bruno train --out {self.path} --resume")


def check_cards(folder: RunFolder, models: Iterable[str], result: dict[str, Any]) -> None:
    """Raise `CardError` where a card of `models` in the folder is not the one that its `result` was computed with."""
    kept = result.get("card_files")
    for model, found in folder.card_hashes(models).items():
        if not isinstance(kept, dict) or kept.get(model) != found:
            raise CardError(
                f"{folder.path / 'cards' / model}.json: not the card that the run was trained with; put it back, or "
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
