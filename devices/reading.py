"""Reading text that came from elsewhere: one strict reader of JSON, and what `devices.reading_yaml` shares with it.

Both give plain dictionaries, lists, text, numbers, true, false and null and nothing else. Refused, each in one
sentence with its line where there is one: what is no regular file, no UTF-8 or too large; nesting deeper than
`MOST_DEEP`; a key that comes twice; a whole number beyond 64 bits; text with control characters, which could steer a
terminal.
"""

import json
import math
import re
import stat
from pathlib import Path
from typing import Any

from bruno_spice.devices.errors import InputError

MOST_JSON_BYTES = 20_000_000
MOST_DEEP = 40
MOST_SHOWN = 60
"""Characters of what an error quotes."""
LARGEST_WHOLE = 2**63 - 1
NOT_PLAIN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters of terminals and of the direction of writing, and halves of characters."""


def printable(text: str) -> str:
    r"""`text` with every character that could steer a terminal written out, such as ``\x1b``."""
    return NOT_PLAIN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown(value: object, most: int = MOST_SHOWN) -> str:
    """`value` in quotes as an error names it: printable, and not longer than `most` characters and a few."""
    return short(repr(value) if isinstance(value, str) else value, most)


def short(value: object, most: int = MOST_SHOWN) -> str:
    """The text of `value`, printable, and cut after `most` characters."""
    text = str(value)
    return printable(text if len(text) <= most else f"{text[:most]}...")


def read_bytes(
    path: Path | str, most_bytes: int, missing: str = "no such file", error: type[InputError] = InputError
) -> bytes:
    """The content of the file at `path`.

    Raises `error` where there is none (with the words `missing`), for a folder, a pipe or a device, for more than
    `most_bytes`, and where it cannot be read.
    """
    check_file(path, most_bytes, missing, error)
    try:
        with Path(path).open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as failure:
        raise error(f"{printable(str(path))}: cannot be read ({failure.strerror})") from None
    if len(content) > most_bytes:
        raise error(f"{printable(str(path))}: grew beyond {most_bytes:,} bytes while it was read")
    return content


def check_file(
    path: Path | str, most_bytes: int, missing: str = "no such file", error: type[InputError] = InputError
) -> None:
    """Raise `error` as `read_bytes` does, without reading: for a file that another library opens."""
    where = printable(str(path))
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise error(f"{where}: {missing}") from None
    except (OSError, ValueError) as failure:
        raise error(f"{where}: cannot be read ({getattr(failure, 'strerror', None) or failure})") from None
    if stat.S_ISDIR(found.st_mode):
        raise error(f"{where} is a folder; name a file")
    if not stat.S_ISREG(found.st_mode):
        raise error(f"{where}: a pipe or a device, not a file")
    if found.st_size > most_bytes:
        raise error(f"{where}: larger than the {most_bytes:,} bytes that such a file may have")


def read_text(
    path: Path | str, most_bytes: int, missing: str = "no such file", error: type[InputError] = InputError
) -> str:
    """The UTF-8 text of the file at `path`; raises `error` as `read_bytes` does, and for other encodings."""
    try:
        return read_bytes(path, most_bytes, missing, error).decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        place = f"byte {failure.start}"
        raise error(f"{printable(str(path))}: not UTF-8 text ({place}); save it as UTF-8") from None


def load_json(path: Path | str, missing: str = "no such file", error: type[InputError] = InputError) -> Any:
    """What the JSON file at `path` holds. Raises `error`; see the module's text."""
    return parse_json(read_text(path, MOST_JSON_BYTES, missing, error), printable(str(path)), error)


def parse_json(text: str, where: str, error: type[InputError] = InputError) -> Any:
    """What the JSON `text` holds; `where` names its origin in messages. Raises `error`."""
    try:
        content = json.loads(text, object_pairs_hook=_without_doubles, parse_int=whole)
    except (ValueError, RecursionError) as failure:
        deep = isinstance(failure, RecursionError)
        reason = f"nested more than {MOST_DEEP} deep" if deep else printable(str(failure))
        raise error(f"{where}: not valid JSON ({reason})") from None
    check_plain(content, where, error)
    return content


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {shown(key)} comes twice")
        content[key] = value
    return content


def whole(digits: str) -> int:
    """The number of `digits`. Raises `ValueError` beyond 64 bits."""
    value = int(digits) if len(digits) <= len(str(LARGEST_WHOLE)) + 1 else math.inf
    if abs(value) > LARGEST_WHOLE:
        raise ValueError(f"the whole number {shown(digits)} is too large")
    return int(value)


def check_plain(content: Any, where: str, error: type[InputError]) -> None:
    """Raise `error` for what is nested too deep, and text that is not printable."""
    level = [content]
    for _ in range(MOST_DEEP + 1):
        for value in level:
            if isinstance(value, str) and (found := NOT_PLAIN.search(value)):
                raise error(f"{where}: {shown(value)} holds the control character {printable(found[0])}")
        level = [inner for value in level for inner in _parts(value)]
        if not level:
            return
    raise error(f"{where}: nested more than {MOST_DEEP} deep")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []
