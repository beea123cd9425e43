"""Things by name: those of the package, and a user's own as ``file.py:Name``.

    GRADIENTS = Registry("gradient", {"bruno": "package.module:BRUNO"}, accept)
    GRADIENTS["bruno"]                  the object at that address, imported when it is asked for
    GRADIENTS.find("mine.py:MINE")      what a user's file calls MINE, once `accept` has made an entry of it

A registry is a mapping; what is assigned to a name is there from then on. Such a file is run, and may do anything: one
that the user names is the user's own, one that a received configuration names is refused unless trusted
(`training.networks.config_file.refuse_code`).
"""

import difflib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import is_file
from bruno_spice.devices.reading import short, shown

Entry = TypeVar("Entry")
Report = Callable[[str], None]


def is_code(value: object) -> bool:
    """Whether `value` has the form ``file.py:Name``."""
    return isinstance(value, str) and value.rpartition(":")[0].endswith(".py")


class Registry(MutableMapping[str, Entry], Generic[Entry]):
    """Entries of one `kind` (``"gradient"``) by name: objects, or addresses ``package.module:NAME`` of them.

    `accept` makes an entry of what a user's file holds, and raises `InputError` where it is none; `form` says what that
    is (``"function"``).
    """

    def __init__(
        self, kind: str, entries: Mapping[str, Entry | str], accept: Callable[[Any], Entry], form: str = "object"
    ) -> None:
        self.kind, self.form, self._accept = kind, form, accept
        self._entries: dict[str, Entry | str] = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        entry = self._entries[name]
        if isinstance(entry, str):
            module, _, attribute = entry.partition(":")
            entry = self._entries[name] = getattr(importlib.import_module(module), attribute)
        return entry

    def __setitem__(self, name: str, entry: Entry) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def choices(self) -> str:
        """The names in words, for texts of help."""
        return f"{', '.join(self)}, or your own as file.py:{self.form}"

    def check(self, name: str) -> str:
        """`name`, which is known or code (not run). Raises `InputError` with the nearest known name for any other."""
        if name in self or is_code(name):
            return name
        close = difflib.get_close_matches(name, self, n=1)
        hint = f"did you mean '{close[0]}'? known" if close else "known"
        raise InputError(f"unknown {self.kind} {shown(name)}; {hint} are {self.choices}")

    def find(self, name: str, report: Report = lambda _: None) -> Entry:
        """The entry called `name`, or made of what ``file.py:Name`` holds; `report` hears which file is run.

        Raises `InputError` for an unknown name, and where the file is not there, not Python or holds no such thing.
        """
        if name in self:
            return self[name]
        try:
            return self._accept(_of_file(self.check(name), self.kind, self.form, report))
        except InputError as error:
            known = str(error).startswith(("unknown", f"{self.kind} '"))
            raise error if known else InputError(f"{self.kind} '{name}': {error}") from None


def _of_file(name: str, kind: str, form: str, report: Report) -> Any:
    where, _, attribute = name.rpartition(":")
    path = Path(where)
    if not is_file(path):
        raise InputError(f"{kind} '{name}': there is no file {short(where)}")
    report(f"{kind}: runs {attribute} of {path.resolve()}")
    try:
        status = path.stat()
        module = _module(path.resolve(), status.st_mtime_ns, status.st_size)
    except ModuleNotFoundError as error:
        raise InputError(f"{kind} '{name}': {error}") from None
    except SyntaxError as error:
        raise InputError(f"{kind} '{name}': {error.filename}, line {error.lineno}: {error.msg}") from None
    if not hasattr(module, attribute):
        raise InputError(f"{kind} '{name}': {where} has no {form} '{attribute}'")
    return getattr(module, attribute)


@lru_cache(maxsize=64)
def _module(path: Path, mtime_ns: int, size: int) -> ModuleType:
    """The file at `path`, run once as long as it stays as it is."""
    unique = f"_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(unique, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module  # dataclasses and pickle look the module of a class up by name
    spec.loader.exec_module(module)
    return module
