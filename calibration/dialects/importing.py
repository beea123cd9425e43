"""From a deck in another simulator's language to one that runs here, with a word on every line that is not in it.

A `Dialect` reads statements and hands them to a `Written` deck (`calibration.dialects.written`), which writes every
name, number and expression anew. What cannot be said here is a `Finding`: ``not translated`` where the circuit would be
another one without it, ``changed`` where it is said in another way, ``left out`` where it says nothing of the circuit.
The deck must then pass the door through which all netlists go (`calibration.spice.statements`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bruno_spice.calibration.dialects import DIALECTS
from bruno_spice.calibration.dialects.files import Files
from bruno_spice.calibration.dialects.written import Finding
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.faults import refuse_faults
from bruno_spice.calibration.spice.netlist import Netlist


@dataclass(frozen=True)
class Imported:
    """A translated deck: its text, the dialect that it came in, and what is to be said of its lines."""

    text: str
    dialect: str
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing that acts on the circuit is missing."""
        return all(finding.kind != NOT_TRANSLATED for finding in self.findings)


NOT_TRANSLATED = "not translated"
HEAD = 200
"""Lines by which a file is recognised."""


def import_deck(path: Path, dialect: str | None = None, libraries: Sequence[Path] = ()) -> Imported:
    """The deck at `path` as one that runs here. Files that it includes must lie beside it or in `libraries`.

    `dialect` is a name in `DIALECTS`, or found by content. Raises `NetlistError` for a file that is no readable text or
    that no dialect recognises.
    """
    files = Files([path.resolve().parent, *(folder.resolve() for folder in libraries)])
    name = dialect or _recognised(path, files)
    chosen = DIALECTS.find(name)
    try:
        written = chosen.translate(path, files)
    except RecursionError:
        raise NetlistError(f"{path}: nests too deeply to be translated") from None
    text = written.text(f"{_safe(path.name)} ({_safe(chosen.title)}), translated by bruno netlist import")
    refuse_faults(Netlist.from_text(text, path.with_suffix(".cir")))
    return Imported(text, name, tuple(sorted(written.findings, key=lambda f: (f.file, f.line))))


def _recognised(path: Path, files: Files) -> str:
    head = files.texts(path, "")[:HEAD]
    found = next((name for name in DIALECTS if DIALECTS[name].recognises(head)), None)
    if found is None:
        raise NetlistError(f"{path}: no dialect recognises it; say which one with --from {'|'.join(DIALECTS)}")
    return found


def _safe(text: str) -> str:
    return re.sub(r"[^\w. ()-]", "_", text, flags=re.ASCII)
