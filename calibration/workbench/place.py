"""Where files lie: the folder in which the workbench was started, below which it reads, and the one it writes into."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.spice.netlist import Netlist
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import is_file, write_atomic
from bruno_spice.devices.reading import printable, shown

MOST_BYTES = 8_000_000
"""Of an uploaded file."""
MOST_UPLOADS = 200
"""Files that uploads may leave."""
MOST_LISTED = 300
UPLOADS = "uploads"


@dataclass(frozen=True)
class Place:
    """`root`, the folder of start; `out`, below it, for what is saved and uploaded; the `simulator` as asked for."""

    root: Path
    out: Path
    simulator: str = "auto"
    found: str = ""
    """The simulator that ``auto`` came to for the page's netlist, once it did."""

    def farm(self, netlist: Path, deck: Callable[[Path], Netlist] = Netlist.load) -> Farm:
        """What runs `netlist`, which `deck` reads: in the simulator that was asked for or found."""
        from bruno_spice.calibration.verilog_a.choice import settled  # translators: only jobs need them

        if self.found:
            return Farm(simulator=self.found)
        return settled(Farm(simulator=self.simulator), [deck(netlist)], lambda _: None)

    def path(self, name: str) -> Path:
        """The file `name`, a path from the root on, for a command: relative to it.

        Raises `InputError` for one outside the root (links are followed) or that is no file.
        """
        if "\0" in name or len(name) > 1000:
            raise InputError(f"{shown(name)} is no name of a file")
        found = (self.root / name).resolve()
        if not found.is_relative_to(self.root.resolve()):
            raise InputError(
                f"{shown(name)} lies outside {printable(str(self.root))}, in which the workbench was started"
            )
        if not is_file(found):
            raise InputError(f"{shown(name)}: there is no such file in {printable(str(self.root))}")
        return Path(name)

    def versions(self, names: Iterable[str]) -> tuple[int, ...]:
        """When each of `names` that is a file here was changed last, in ns: an edited one is another."""
        found = []
        for name in filter(None, names):
            with suppress(InputError, OSError):
                found.append((self.root / self.path(name)).stat().st_mtime_ns)
        return tuple(found)

    def listing(self, suffixes: frozenset[str]) -> list[str]:
        """Files below the root with one of `suffixes`, at most two folders down, hidden ones left out."""
        found = []
        for pattern in ("*", "*/*", "*/*/*"):
            for path in sorted(self.root.glob(pattern)):
                inside = path.relative_to(self.root)
                hidden = any(part.startswith(".") for part in inside.parts)
                if not hidden and path.suffix.lower() in suffixes and path.is_file():
                    found.append(str(inside))
                if len(found) >= MOST_LISTED:
                    return found
        return found

    def upload(self, name: str, content: bytes) -> str:
        """Keep an uploaded file among the saved ones; its name for `path`.

        Another file of that name stays as it is: the new one gets a number. Raises `InputError` for one too large or
        one too many.
        """
        if len(content) > MOST_BYTES:
            raise InputError(f"{shown(name)} has {len(content):,} bytes; at most {MOST_BYTES:,} are taken")
        plain = "".join(c if c.isalnum() or c in "._- " else "_" for c in Path(name).name)[-80:].strip(" .") or "file"
        folder = self.out / UPLOADS
        if folder.is_dir() and sum(1 for _ in folder.iterdir()) >= MOST_UPLOADS:
            raise InputError(f"{printable(str(folder))} holds {MOST_UPLOADS} uploaded files; remove some")
        for number in range(1, MOST_UPLOADS + 2):
            stem, suffix = Path(plain).stem, Path(plain).suffix
            path = folder / (plain if number == 1 else f"{stem}-{number}{suffix}")
            if not path.exists():
                write_atomic(path, content)
                break
            if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
                break
        return str(path.relative_to(self.root))
