"""Where a card comes from, and what of it stands in the netlist."""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.farm import version_of
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.cards.parts import Parameter, Provenance
from bruno_spice.devices.files import ROOT


def provenance(deck: Netlist, overrides: Mapping[str, float], command: str, simulator: str = "ngspice") -> Provenance:
    """The deck's file with the hash of all that it includes at `overrides`, simulator, command and date (UTC).

    Raises `NetlistError` for an override that the deck has no ``.param`` for.
    """
    return Provenance(
        netlist=in_project(deck.path) or deck.path.name,
        sha256=deck.sha256(overrides),
        ngspice_version=version_of(simulator),
        command=command,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        overrides=dict(overrides),
    )


def of_measurement(paths: Sequence[Path], command: str) -> Provenance:
    """The names of the files at `paths` with the hash of all of them, command and date (UTC)."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.read_bytes())
    return Provenance(
        netlist=", ".join(path.name for path in paths),
        sha256=whole.hexdigest(),
        ngspice_version="a measurement",
        command=command,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def circuit_parameter(deck: Netlist, name: str, assumed: Parameter) -> Parameter:
    """The number that `deck` gives its ``.param`` `name`; `assumed`, marked so, where it has none of that name.

    Raises `NetlistError` where the deck has the name, but no number of that unit: a card must not state another one.
    """
    param = deck.params.get(name)
    if param is None:
        return assumed.model_copy(update={"source": f"assumed: {assumed.source}"})
    if param.value is None:
        raise NetlistError(f"{param.where}: .param {name} is no number, but the card states it in {assumed.unit}")
    if param.unit not in ("", assumed.unit):
        raise NetlistError(
            f"{param.where}: .param {name} counts in {param.unit} by its comment, but the card states it in "
            f"{assumed.unit}; write '[{assumed.unit}]' if that is what the number means, else rename the .param"
        )
    return Parameter(value=param.value, unit=assumed.unit, source="netlist")


def in_project(path: Path) -> str | None:
    """`path` by its place in the project, so that what others read does not carry its maker's folders; None outside."""
    return path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else None
