"""A Verilog-A file of the user's as a `Model` that a deck can have instances of.

The file holds one module, of which `checking` finds nothing to say: what OpenVAF would forget or count once would make
wrong numbers without a word. Parameters whose default is a number can be set. Source: Verilog-AMS 2.4, chapters 2, 3.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from bruno_spice.calibration.spice.ngspice import Model
from bruno_spice.calibration.verilog_a.foreign.checking import check
from bruno_spice.calibration.verilog_a.foreign.declared import Parameter, read_modules
from bruno_spice.calibration.verilog_a.foreign.source import written_out
from bruno_spice.devices.errors import InputError

SUFFIX = ".va"
FEWEST_PORTS = 2
SCALES = {"T": 1e12, "G": 1e9, "M": 1e6, "K": 1e3, "k": 1e3, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15,
          "a": 1e-18}  # fmt: skip
_NUMBER = re.compile(r"([+-]?(?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)([TGMKkmunpfa]?)")
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Settable:
    """A parameter that can be set: its lower-case name, default, unit (empty: not said), meaning and place."""

    name: str
    default: float
    unit: str
    meaning: str
    where: str


@dataclass(frozen=True)
class Loaded:
    """A model with the parameters that can be set, in the order of the file."""

    model: Model
    parameters: tuple[Settable, ...]
    path: Path


def is_model(path: Path | str) -> bool:
    """Whether `path` is that of a Verilog-A file, by its ending."""
    return Path(path).suffix.lower() == SUFFIX


def load_model(path: Path | str) -> Loaded:
    """The model in the file at `path`.

    Raises `InputError` where it cannot be read, holds no or several modules, or `checking` finds something.
    """
    path = Path(path)
    modules, _ = read_modules(path)
    if len(modules) > 1:
        several = ", ".join(module.name for module in modules)
        raise InputError(f"{path}: has the modules {several}; leave the one that is meant in the file")
    if findings := check(path):
        more = f" (and {len(findings) - 1} more, which bruno va check names)" if len(findings) > 1 else ""
        raise InputError(f"{findings[0].where}: {findings[0].kind}: {findings[0].sentence}{more}")
    (module,) = modules
    names = [module.name, *module.ports, *(p.name for p in module.parameters)]
    if odd := [name for name in names if not _NAME.fullmatch(name)]:
        raise InputError(f"{path}: the name {odd[0]} is none that simulators share; use letters, digits and _")
    if len(module.ports) < FEWEST_PORTS:
        raise InputError(f"{path}: {module.name} has {len(module.ports)} ports; a device has two at least")
    settable = [found for p in module.parameters if (found := _settable(p)) is not None]
    for p in settable:
        same = [q.name for q in module.parameters if q.name.lower() == p.name]
        if len(same) > 1:
            raise InputError(f"{p.where}: the parameters {' and '.join(same)} differ in case only; rename one of them")
    set_by = tuple(p.name for p in settable)
    model = Model(module.name.lower(), module.name, written_out(path), tuple(module.ports), set_by)
    return Loaded(model, tuple(settable), path)


def _settable(p: Parameter) -> Settable | None:
    value = number(p.default)
    if p.kind not in ("real", "integer") or value is None:
        return None
    return Settable(p.name.lower(), value, p.unit, p.meaning, p.where)


def number(text: str) -> float | None:
    """The value of `text` where it is a number of Verilog-A, whose ``M`` is 1e6; else None."""
    match = _NUMBER.fullmatch(text.replace(" ", ""))
    if match is None:
        return None
    value = float(f"{float(match[1].replace('_', '')) * SCALES.get(match[2], 1.0):.15g}")
    return value if math.isfinite(value) else None
