"""Reading decks: the lines of a netlist with its includes written out, each knowing where it came from.

ngspice includes a file at every line that begins with ``.inc``, however the word goes on, and a section of a library
at ``.lib FILE SECTION``; files are looked up beside the one that asks. Both are written out here, and ``.control``
blocks, which are for runs by hand, are left out. Source: ngspice manual, sections 2.6 and 2.7; inpcom.c of ngspice 39.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.source_text import plain, read_lines
from bruno_spice.devices.files import is_file

MAX_LINES = 200_000
"""Of a deck with everything written out."""
MAX_FILES = 1000
"""That a deck includes, each as often as it is asked for."""
MAX_DEPTH = 20
"""Of files that include files."""
_PATH = r"(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'|(?P<bare>[^\s\"']+))"
_ASKS = re.compile(
    rf"\.(?:inc|lib)\w*(?:\s+|(?=[\"'])){_PATH}(?:\s+(?P<quote>[\"']?)(?P<section>[^\s\"']+)(?P=quote))?$",
    re.IGNORECASE,
)
_COMMENT = re.compile(r";|(?:^|(?<=[\s,]))\$|//")
_QUOTED_COMMENT = re.compile(r"\"[^\"]*\"|'[^']*'|(?P<comment>;|(?:^|(?<=[\s,]))\$|//)")


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

    @cached_property
    def code(self) -> str:
        """The text without its comment, blanks single, as ngspice is given it."""
        return plain(split_comment(self.text)[0], self.where)

    @cached_property
    def comment(self) -> str:
        """The comment behind the code, or the whole of a comment line."""
        return split_comment(self.text)[1]


@dataclass(frozen=True)
class Source:
    """What was read: the lines with everything they include, and remarks on files that are not plain UTF-8."""

    lines: tuple[Line, ...]
    remarks: tuple[str, ...] = ()


def split_comment(text: str) -> tuple[str, str]:
    """Code and comment of a line: ``*``, ``#``, ``$`` or ``;`` in front, ``;``, `` $`` or ``//`` behind the code."""
    bare = text.strip()
    if bare[:1] in ("*", "#"):
        return "", bare.lstrip("*#").strip()
    pattern = _QUOTED_COMMENT if bare[:4].lower() in (".inc", ".lib") else _COMMENT
    for match in pattern.finditer(text):
        if match.lastgroup == "comment" or pattern is _COMMENT:
            return text[: match.start()].strip(), text[match.end() :].strip()
    return bare, ""


def read_deck(path: Path) -> Source:
    """The lines of the file at `path` with everything it includes; raises `NetlistError` for a file not there."""
    reader = _Reader()
    return reader.source(reader.file(path, "", ()))


def expand_deck(lines: Sequence[Line], folder: Path) -> Source:
    """`lines` with everything they include, looked for in `folder`."""
    reader = _Reader()
    return reader.source(reader.expanded(lines, folder, ()))


@dataclass
class _Reader:
    """One deck as it is read: how many lines and files it has so far, and what was remarked."""

    count: int = 0
    files: int = 0
    remarks: dict[str, None] = field(default_factory=dict)

    def source(self, lines: Iterator[Line]) -> Source:
        return Source(tuple(lines), tuple(self.remarks))

    def file(self, path: Path, at: str, stack: tuple[tuple[Path, str], ...], section: str = "") -> Iterator[Line]:
        asked = (path.resolve(), section.lower())
        if asked in stack:
            raise NetlistError(f"{at}{path} includes itself")
        if len(stack) >= MAX_DEPTH:
            raise NetlistError(f"{at}more than {MAX_DEPTH} files that include one another")
        self.files += 1
        if self.files > MAX_FILES:
            raise NetlistError(f"{at}more than {MAX_FILES} included files")
        texts, encoding = read_lines(path, at)
        if encoding:
            self.remarks[f"{path} is not UTF-8, read as {encoding}"] = None
        lines: Sequence[Line] = [Line(text, path, number) for number, text in enumerate(texts, 1)]
        if section:
            lines = _section(lines, section, f"{at}{path}")
        yield from self.expanded(lines, path.parent, (*stack, asked))

    def expanded(self, lines: Sequence[Line], folder: Path, stack: tuple[tuple[Path, str], ...]) -> Iterator[Line]:
        for line in _without_control(lines):
            self.count += 1
            if self.count > MAX_LINES:
                raise NetlistError(f"{line.where}: more than {MAX_LINES:,} lines with everything included")
            _refuse_commands(line)
            lower = line.text.lstrip()[:4].lower()
            if lower not in (".inc", ".lib"):
                yield line
                continue
            path, section = _asked(line, folder)
            yield from self.file(path, f"{line.where}: ", stack, section)


def _asked(line: Line, folder: Path) -> tuple[Path, str]:
    """File and section that an include asks for; an empty section for the whole file.

    ``.lib FILE`` without a section, as other simulators write it, is an include where there is such a file.
    """
    code = split_comment(line.text)[0]
    include = code[:4].lower() == ".inc"
    match = _ASKS.match(code)
    if match and (name := match["double"] or match["single"] or match["bare"]):
        path, section = _beside(name, folder), match["section"] or ""
        if include != bool(section) or (not section and is_file(path)):
            return path, section
    example = ".include FILE" if include else ".lib FILE SECTION"
    raise NetlistError(f"{line.where}: write {example} on one line, with quotes around a path that has blanks")


def _beside(path: str, folder: Path) -> Path:
    try:
        found = Path(path).expanduser()
    except RuntimeError:
        found = Path(path)
    return found if found.is_absolute() else folder / found


def _refuse_commands(line: Line) -> None:
    """ngspice runs comments that begin with ``*#``, and whole files that begin with ``*ng_script``."""
    bare = line.text.strip().lower()
    if bare.startswith("*ng_script"):
        raise NetlistError(f"{line.where}: *ng_script makes ngspice run the file as commands; bruno runs none")
    if bare.startswith("*#") and re.search(r"[a-z]", bare):
        raise NetlistError(
            f"{line.where}: ngspice would run '{bare[:60]}' as a command, bruno runs none; write '* ' for a comment, "
            "or put it into a .control block, which is for runs by hand"
        )


def _section(lines: Sequence[Line], section: str, at: str) -> list[Line]:
    """The lines between ``.lib section`` and the next ``.endl``, of the first such section, as ngspice takes it."""
    first = next((i for i, line in enumerate(lines) if _opens(line, section.lower())), None)
    if first is None:
        raise NetlistError(f"{at} has no library section '{section}'")
    last = next((i for i in range(first + 1, len(lines)) if lines[i].text.lstrip()[:5].lower() == ".endl"), None)
    if last is None:
        raise NetlistError(f"{lines[first].where}: the library section '{section}' has no .endl")
    return list(lines[first + 1 : last])


def _opens(line: Line, section: str) -> bool:
    if line.text.lstrip()[:4].lower() != ".lib":
        return False
    words = split_comment(line.text)[0].lower().split()
    return len(words) == 2 and words[0] == ".lib" and words[1].strip("\"'") == section


def _without_control(lines: Sequence[Line]) -> Iterator[Line]:
    opened: Line | None = None
    for line in lines:
        bare = line.text.lstrip()[:8].lower()
        if opened is None and bare == ".control":
            opened = line
        elif opened is not None and bare[:5] == ".endc":
            opened = None
        elif opened is None:
            yield line
    if opened is not None:
        raise NetlistError(f"{opened.where}: .control without .endc, which would take in the rest of the file")
