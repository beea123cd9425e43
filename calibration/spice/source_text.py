"""Netlist files as text: bytes to physical lines, within bounds, and what was recognised on the way.

UTF-8 first, a byte-order mark deciding before it; what is no UTF-8 is read as Latin-1, in which every byte stands for
one character and 0xB5 is the micro sign, as ngspice has it. Lines end where ngspice ends them, at a line feed.
"""

import codecs
import contextlib
from pathlib import Path

from bruno_spice.calibration.errors import NetlistError

MAX_FILE_BYTES = 8 << 20
MAX_WORD = 4000
"""Characters of one word; ngspice copies words into buffers of its own."""
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SAMPLE = 64
"""Bytes of a beginning by which UTF-16 is recognised."""
_MICRO = str.maketrans({"\u00b5": "u", "\u03bc": "u"})


def read_lines(path: Path, at: str = "") -> tuple[list[str], str]:
    """Physical lines of the netlist at `path`, and the name of its encoding where it is not UTF-8 (else empty).

    `at` says which line asks for it. Raises `NetlistError` for what is no readable text of a bounded size.
    """
    try:
        if path.exists() and not path.is_file():
            raise NetlistError(f"{at}{path} is not a file; give a netlist, a file of text")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise NetlistError(f"{at}{path} has more than {MAX_FILE_BYTES >> 20} MiB, which is no netlist")
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NetlistError(f"{at}no such netlist file: {path}") from None
    except (OSError, ValueError) as error:
        raise NetlistError(f"{at}cannot read the netlist {path}: {getattr(error, 'strerror', error)}") from None
    text, encoding = decode(raw, path)
    return split_lines(text), encoding


def decode(raw: bytes, path: Path) -> tuple[str, str]:
    """The text of `raw` without its byte-order mark, and the name of its encoding where it is not UTF-8."""
    for mark, name in _MARKS:
        if raw.startswith(mark):
            try:
                return raw[len(mark) :].decode(name), "" if name == "utf-8" else "UTF-16"
            except UnicodeDecodeError as error:
                raise NetlistError(f"{path}: begins as {name.upper()} but is not ({error.reason})") from None
    if (
        len(raw) > 1 and not any(raw[1:_SAMPLE:2]) and all(raw[0:_SAMPLE:2])
    ):  # UTF-16 without its mark, as LTspice has it
        with contextlib.suppress(UnicodeDecodeError):
            return raw.decode("utf-16-le"), "UTF-16"
    if b"\0" in raw:
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        raise NetlistError(f"{path}:{line}: a zero byte, so this is no text; save it as UTF-8")
    try:
        return raw.decode(), ""
    except UnicodeDecodeError:
        return raw.decode("latin-1"), "Latin-1"


def split_lines(text: str) -> list[str]:
    """Lines of `text`, ended by a line feed, with or without a carriage return before it."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def plain(code: str, where: str) -> str:
    """`code` as ngspice is given it: micro signs as ``u``, blanks single. Raises `NetlistError` for odd characters."""
    if code.isascii() and code.isprintable() and len(code) <= MAX_WORD:
        return " ".join(code.split())
    code = code.translate(_MICRO)
    for char in set(code):
        if char not in "\t\v\f" and (not char.isprintable() or (char.isspace() and char != " ")):
            raise NetlistError(f"{where}: the character U+{ord(char):04X} cannot stand in a netlist; delete it")
    words = code.split()
    if any(len(word) > MAX_WORD for word in words):
        raise NetlistError(f"{where}: a word of more than {MAX_WORD} characters; write it in parts, with blanks")
    return " ".join(words)
