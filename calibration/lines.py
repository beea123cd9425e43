"""Reading decks: the lines of a netlist with its includes written out, each knowing where it came from.

``.include FILE`` and ``.lib FILE SECTION`` are looked up beside the file that asks, as ngspice does, and written
out; ``.control`` blocks are blanked. Source: ngspice manual, sections 2.6 and 2.7.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from calibration.errors import NetlistError

_INCLUDE = re.compile(r"^\s*\.inc(?:lude)?\s+(?P<path>\"[^\"]+\"|'[^']+'|\S+)", re.IGNORECASE)
_LIBRARY = re.compile(r"^\s*\.lib\s+(?P<path>\"[^\"]+\"|'[^']+'|\S+)\s+(?P<section>\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One physical line and where it stands; `path` is None for a line that a program wrote."""

    text: str
    path: Path | None = None
    number: int = 0

    @property
    def where(self) -> str:
        """``file:line``, or a word for generated lines."""
        return f"{self.path}:{self.number}" if self.path else "generated line"

    @property
    def code(self) -> str:
        """The text without its comment."""
        return split_comment(self.text)[0]


def split_comment(text: str) -> tuple[str, str]:
    """Code and comment of a line: ``*`` in front, or ``;`` or `` $ `` or ``//`` behind the code."""
    if text.lstrip().startswith("*"):
        return "", text.lstrip().lstrip("*").strip()
    match = re.search(r";|(?:^|[\s,])\$\s|//", text)
    if not match:
        return text.rstrip(), ""
    return text[: match.start()].rstrip(), text[match.end() :].strip()


def read_deck(path: Path) -> tuple[Line, ...]:
    """The lines of the deck at `path` with everything it includes; raises `NetlistError` for a file not there."""
    return tuple(_with_title(_without_control(_read(path, None, ()))))


def expand_deck(lines: list[Line], folder: Path) -> tuple[Line, ...]:
    """`lines` with everything they include, looked for in `folder`."""
    return tuple(_with_title(_without_control(_expand(lines, folder, ()))))


def _read(path: Path, asked_at: Line | None, stack: tuple[Path, ...], section: str = "") -> list[Line]:
    resolved = path.resolve()
    at = f"{asked_at.where}: " if asked_at else ""
    if resolved in stack:
        raise NetlistError(f"{at}{path} includes itself")
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        raise NetlistError(f"{at}no such netlist file: {path}") from None
    except OSError as error:
        raise NetlistError(f"{at}cannot read the netlist {path}: {error.strerror}") from None
    lines = [Line(raw, path, i) for i, raw in enumerate(text.splitlines(), 1)]
    if section:
        lines = _section(lines, section, at, path)
    return _expand(lines, path.parent, (*stack, resolved))


def _expand(lines: list[Line], folder: Path, stack: tuple[Path, ...]) -> list[Line]:
    expanded: list[Line] = []
    for line in lines:
        include, library = _INCLUDE.match(line.code), _LIBRARY.match(line.code)
        if match := include or library:
            path = Path(match["path"].strip("\"'")).expanduser()
            section = library["section"] if library else ""
            expanded.append(replace(line, text=f"* {line.text.strip()}"))
            expanded.extend(_read(path if path.is_absolute() else folder / path, line, stack, section))
        else:
            expanded.append(line)
    return expanded


def _section(lines: list[Line], section: str, at: str, path: Path) -> list[Line]:
    """The lines between ``.lib section`` and ``.endl``."""
    inside = False
    found: list[Line] = []
    for line in lines:
        words = line.code.lower().split()
        if words[:1] == [".lib"] and len(words) == 2:
            inside = words[1] == section.lower()
        elif words[:1] == [".endl"]:
            inside = False
        elif inside:
            found.append(line)
    if not found:
        raise NetlistError(f"{at}{path} has no library section '{section}'")
    return found


def _with_title(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines behind a title: ngspice takes the first line for one, whatever it says."""
    first = next(lines, None)
    if first is None or first.text.lstrip().startswith("."):
        yield Line("* no title")
    if first is not None:
        yield first
    yield from lines


def _without_control(lines: list[Line]) -> Iterator[Line]:
    inside = False
    for line in lines:
        lower = line.code.lower().strip()
        inside = inside or lower.startswith(".control")
        yield replace(line, text="*") if inside else line
        inside = inside and not lower.startswith(".endc")
