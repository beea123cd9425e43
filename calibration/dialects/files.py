"""The files of a received deck: bytes to statements, each with its place, and includes within the folders allowed.

A deck of another hand may name any file of this machine. Only files below the deck's own folder, or below one that the
user names, are read: what lies elsewhere would end in a deck, or in a message, that is handed on.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.spice.lines import MAX_DEPTH, MAX_FILES, MAX_LINES
from bruno_spice.calibration.spice.source_text import plain, read_lines

MAX_CODE = 100_000
"""Characters of one statement."""


@dataclass(frozen=True)
class Code:
    """A statement with its continuation lines joined, blanks single, without comments; and where it begins."""

    text: str
    file: str
    line: int

    @property
    def where(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.line}"

    def word(self, index: int = 0) -> str:
        """A word of it, lower-case; empty where it has fewer."""
        words = self.text.lower().split(None, index + 1)
        return words[index] if len(words) > index else ""


@dataclass
class Files:
    """What may be read, and how much of it has been."""

    folders: Sequence[Path]
    count: int = 0
    lines: int = 0
    open: list[tuple[Path, str]] = field(default_factory=list)

    def texts(self, path: Path, at: str) -> list[str]:
        """Physical lines of the file at `path`; `at` says which line asks for it. Raises `NetlistError`."""
        self.count += 1
        found = read_lines(path, at)[0]
        self.lines += len(found)
        if self.count > MAX_FILES or self.lines > MAX_LINES:
            raise NetlistError(f"{at}{path}: more than {MAX_FILES} files or {MAX_LINES:,} lines with all included")
        return found

    def beside(self, name: str, asking: Code) -> Path | str:
        """The file that `asking` means by `name`, or why it is not read."""
        folder = Path(asking.file).parent
        candidates = [folder / name, *(each / name for each in self.folders)]
        if re.match(r"([A-Za-z]:)?[\\/]", name):  # where it lay on the machine that it comes from
            candidates = [Path(name), *(each / re.split(r"[\\/]", name)[-1] for each in self.folders)]
        for path in candidates:
            try:
                if path.is_file() and any(path.resolve().is_relative_to(each) for each in self.folders):
                    return path
            except (OSError, ValueError, RuntimeError):
                continue
        return "no such file beside the deck, or in a folder named by --library"

    def inside(self, path: Path, section: str, asking: Code) -> str:
        """Open `path` for reading its `section`; why not, where it includes itself or nests too deeply."""
        key = (path.resolve(), section)
        if key in self.open:
            return "it includes itself"
        if len(self.open) >= MAX_DEPTH:
            return f"more than {MAX_DEPTH} files that include one another"
        self.open.append(key)
        return ""


def joined(
    texts: Sequence[str], path: Path, bare: Callable[[str], str], first: int = 1, ends: Sequence[str] = ("\\",)
) -> Iterator[Code]:
    """The statements of the lines `texts`; `bare` takes the comment off a line.

    A line that begins with ``+`` continues the statement before it, as does one behind a line that ends in one of
    `ends`.
    """
    parts: list[str] = []
    begun, goes_on = 0, False
    for number, raw in enumerate(texts, first):
        where = f"{path}:{number}"
        text = plain(bare(raw), where)
        if not text and not goes_on:
            continue
        if parts and not goes_on and not text.startswith("+"):
            yield Code(" ".join(parts).strip(), str(path), begun)
            parts = []
        begun = begun if parts else number
        end = next((end for end in ends if text.endswith(end)), "")
        goes_on = bool(end)
        parts.append(text.removeprefix("+").removesuffix(end).strip())
        if sum(map(len, parts)) > MAX_CODE:
            raise NetlistError(f"{where}: a statement of more than {MAX_CODE:,} characters")
    if parts:
        yield Code(" ".join(parts).strip(), str(path), begun)
