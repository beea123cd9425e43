"""Cards of older schema versions, brought up to date one step at a time when they are read.

A step takes the raw JSON of one version and returns that of the next; `STEPS` names the version each step
starts from. What changed:

0.9 -> 1.0

- ``fixed: true`` on a parameter became ``vary: false``, and a missing ``source`` became required.
- An envelope entry ``{"range": [low, high], "unit": ...}`` became ``{"min": low, "max": high, "unit": ...}``.
- FeLIF cards had one domain: ``activation_field`` without a number, no offset field, no weight, no ``domains``.
- FeLIF cards had neither ``polarization_reset`` (-1: the reset wrote the whole film back) nor the compliance floor
  ``v_floor``, ``v_compliance`` (-5 V and 26 mV: the membrane was free, as in the published model), and the
  discharge current jumped at 0 V (``leak_v_smooth``: 10 mV, see `devices.models.felif`).

1.0 -> 1.1

- ``stderr`` was what the curvature of the fit gave. That is ``stderr_curvature`` now, and ``stderr`` includes the
  misfit of the model; a card of 1.0 knows only the first, so both say the same.

A version that no step leads away from, and any newer major version, is refused by name.
"""

import copy
import re
from collections.abc import Callable
from typing import Any

from bruno_spice.devices.errors import CardError
from bruno_spice.devices.reading import short

Raw = dict[str, Any]

FELIF_BEFORE_1_0 = {
    "polarization_reset": (-1.0, "1"),
    "v_floor": (-5.0, "V"),
    "v_compliance": (26e-3, "V"),
    "leak_v_smooth": (10e-3, "V"),
    "offset_field_1": (0.0, "V/m"),
    "domain_weight_1": (1.0, "1"),
}
"""Parameters that 0.9 lacked, with the values that its program used."""


def migrate(raw: Raw, current: str) -> Raw:
    """`raw` (JSON of a card) as a card of the schema version `current`; `raw` itself is left alone.

    Raises `CardError` for a version newer than `current`'s major, one too old to read, or none at all.
    """
    version = raw.get("schema_version")
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}", version):
        raise CardError(f"schema_version: '{short(version)}' is not a version such as {current}")
    raw = copy.deepcopy(raw)
    while _series(version) != _series(current):
        step = STEPS.get(_series(version))
        if step is None:
            readable = ", ".join([*(f"{old}.x" for old in STEPS), f"{_series(current)}.x"])
            newer = _number(version) > _number(current)
            remedy = "update this program" if newer else "recalibrate"
            raise CardError(
                f"schema_version: version {version} is not readable here; this program reads {readable}: {remedy}"
            )
        try:
            raw = step[1](raw) | {"schema_version": step[0]}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CardError(f"not a card of version {version} ({error})") from None
        version = step[0]
    if version.startswith("1.0."):
        raw = _to_1_1(raw) | {"schema_version": "1.1.0"}
    return raw


def _series(version: str) -> str:
    """What must agree for two versions to be read alike: the major, and the minor too before 1.0."""
    major, minor, _ = version.split(".")
    return f"0.{minor}" if major == "0" else major


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _to_1_0(raw: Raw) -> Raw:
    parameters = {name: _vary_for_fixed(entry) for name, entry in raw.get("parameters", {}).items()}
    if raw.get("model") == "felif":
        if "activation_field" in parameters:
            parameters["activation_field_1"] = parameters.pop("activation_field")
        for name, (value, unit) in FELIF_BEFORE_1_0.items():
            entry = {"value": value, "unit": unit, "source": "fixed in cards before 1.0"}
            parameters.setdefault(name, entry)
        raw.setdefault("domains", 1)
    covariance = raw.get("covariance", {})
    if "names" in covariance:
        covariance["names"] = [
            "activation_field_1" if name == "activation_field" else name for name in covariance["names"]
        ]
    envelope = {name: _min_max_for_range(entry) for name, entry in raw.get("envelope", {}).items()}
    return raw | {"parameters": parameters, "envelope": envelope}


def _to_1_1(raw: Raw) -> Raw:
    for entry in raw["parameters"].values() if isinstance(raw.get("parameters"), dict) else ():
        if isinstance(entry, dict) and "stderr" in entry:
            entry.setdefault("stderr_curvature", entry["stderr"])
    return raw


def _vary_for_fixed(entry: Raw) -> Raw:
    entry = dict(entry)
    if "fixed" in entry:
        entry["vary"] = not entry.pop("fixed")
    entry.setdefault("source", "not recorded in cards before 1.0")
    return entry


def _min_max_for_range(entry: Raw) -> Raw:
    entry = dict(entry)
    if "range" in entry:
        entry["min"], entry["max"] = entry.pop("range")
    return entry


STEPS: dict[str, tuple[str, Callable[[Raw], Raw]]] = {"0.9": ("1.0.0", _to_1_0)}
"""By the series it reads: the version that a step leads to, and the step."""
