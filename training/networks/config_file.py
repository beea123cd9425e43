"""Configurations from files and from the command line: read, changed key by key, and held against the one begun."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import ROOT, is_file
from bruno_spice.devices.reading import MOST_JSON_BYTES, read_bytes, short, shown
from bruno_spice.devices.reading_yaml import load_yaml, parse_yaml
from bruno_spice.devices.registry import is_code
from bruno_spice.training.networks.config import RunConfig, parse_config

CONFIG_FOLDER = ROOT / "training" / "configs"
MAY_CHANGE_ON_RESUME = ("epochs", "patience")
"""Of `TrainingConfig`."""
MOST_OF_A_PATH = 500
"""Characters of what an error says of it."""


def load_config(path: Path | str, trust_code: bool = False, chosen: Collection[str] = ()) -> RunConfig:
    """Read the YAML file at `path`.

    Raises `InputError` that names the file and the key at fault, and, without `trust_code`, for a key that names a
    Python file: whoever wrote the configuration would have it run. `chosen` are dotted keys that the user sets anew, so
    that what the file has there is never run.
    """
    raw = load_yaml(path, "no such configuration file")
    if not isinstance(raw, dict | None):
        raise InputError(f"{path}: must hold keys and values such as 'task: chorales'")
    config = parse_config(raw or {}, str(path))
    if not trust_code:
        refuse_code(config, str(path), chosen)
    return config


def refuse_code(config: RunConfig, where: str, chosen: Collection[str] = ()) -> None:
    """Raise `InputError`, which says what would run, where a value of `config` is code; `where` names it.

    Every text of the form ``file.py:Name`` counts, whichever key holds it, but for the `chosen` keys and what is in
    them.
    """
    for key, value in _texts(config.model_dump()):
        if any(key == own or key.startswith(f"{own}.") for own in chosen):
            continue
        if is_code(value) or (key == "task" and ":" in value):
            file, _, name = value.rpartition(":")
            code = f"{shown(name)} of {shown(str(Path(file).absolute()), MOST_OF_A_PATH)}"
            raise InputError(f"{where}: its {short(key)} would run {code}; add --trust-code if you know who wrote that")


def code_files(config: RunConfig) -> dict[str, str]:
    """SHA-256 of each file that a value ``file.py:Name`` of `config` names, by its name there; of those that are there.

    What such a file imports is not looked at.
    """
    names = {value.rpartition(":")[0] for _, value in _texts(config.model_dump()) if is_code(value)}
    return {
        name: hashlib.sha256(read_bytes(name, MOST_JSON_BYTES)).hexdigest()
        for name in sorted(names)
        if is_file(Path(name))
    }


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in nested mappings and lists with its dotted key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)


def changed(config: RunConfig, settings: Mapping[str, Any], where: str = "options") -> RunConfig:
    """`config` with dotted keys replaced; `where` names their origin in messages.

    Raises `InputError` for a key that there is not.
    """
    try:
        return config.with_settings(settings, where)
    except KeyError as error:
        raise InputError(f"{where}: a setting names {error}, which the configuration does not have") from None


def parse_settings(words: Iterable[str]) -> dict[str, Any]:
    """``["synapse.kind=uniform", ...]`` as dotted keys with YAML values. Raises `InputError` for anything else."""
    settings = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {word}: write KEY=VALUE, for example --set training.learning_rate=1e-3")
        settings[key.strip()] = parse_yaml(value, f"--set {word}")
    return settings


def default_config(task: str) -> RunConfig:
    """The configuration that comes with `task`; a task of the user's own starts from the plain defaults."""
    path = CONFIG_FOLDER / f"{task}.yaml"
    return load_config(path) if task.isidentifier() and is_file(path) else RunConfig(task=task)


def difference(config: RunConfig, saved: RunConfig) -> str | None:
    """The first key, with both values, that keeps `config` from going on with `saved`; None where it may."""
    new, old = config.model_dump(), saved.model_dump()
    for name in MAY_CHANGE_ON_RESUME:
        new["training"][name] = old["training"][name]
    new["device"], new["threads"] = old["device"], old["threads"]
    if (found := _first_difference(new, old, "")) is None:
        return None
    key, begun, asked = found
    return f"{key}: {begun!r} was begun, {asked!r} is asked for"


def more_than_the_seed(config: RunConfig, other: RunConfig) -> str | None:
    """The first key, with both values, in which two runs differ that are to differ in their seed alone, or None.

    Where and on how many threads they ran does not count, nor the names of cards, which runs have copies of.
    """
    one, two = config.model_dump(), other.model_dump()
    for each in (one, two):
        for name in ("seed", "device", "threads"):
            del each[name]
        del each["neuron"]["card"], each["synapse"]["card"]
    if (found := _first_difference(two, one, "")) is None:
        return None
    key, first, second = found
    return f"{key}: {first!r} and {second!r}"


def _first_difference(new: Any, old: Any, key: str) -> tuple[str, Any, Any] | None:
    """The first key that differs, its old value and its new one."""
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return None if new == old else (key, old, new)
    found = (
        _first_difference(new.get(name, "nothing"), old.get(name, "nothing"), f"{key}.{name}".lstrip("."))
        for name in old | new
    )
    return next((each for each in found if each), None)
