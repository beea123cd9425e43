"""What simulators of compiled models share: a folder of the worker's own, and the models that a deck needs in it."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice import statements
from bruno_spice.calibration.spice.ngspice import MEMORY_LIMIT_BYTES, TIME_LIMIT_S, Worker
from bruno_spice.calibration.spice.worker_process import NoFolderError, own_folder
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.module import Module
from bruno_spice.devices import units
from bruno_spice.devices.files import write_atomic


def translation_identity(*modules: str) -> str:
    """The compiler's identity and a hash of the code that translates and runs, `modules` of this folder among it."""
    digest = hashlib.sha256()
    own = ("circuit", "compiled", "deck", "expressions", "module", "openvaf", "writer", *modules)
    for path in (*(Path(__file__).with_name(f"{name}.py") for name in own), *map(Path, OTHERS)):
        digest.update(path.read_bytes())
    return f"{openvaf.installed().identity}-{digest.hexdigest()[:16]}"


OTHERS = (statements.__file__, units.__file__)
"""What the translation reads netlists and numbers with."""


class CompiledWorker(Worker):
    """A worker with a folder for compiled models, which goes when it is closed."""

    def __init__(self, time_limit_s: float = TIME_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        super().__init__(time_limit_s, memory_limit_bytes)
        self._folder: Path | None = None

    def close(self) -> None:
        """End the worker process and remove its folder."""
        super().close()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def own_folder(self) -> Path:
        """The worker's folder, made on first use."""
        if self._closed.is_set():
            raise SimulationError("the simulation farm was closed")
        if self._folder is None:
            try:
                self._folder = own_folder("bruno-")
            except NoFolderError as error:
                raise SimulationError(f"{self.program} {error}") from None
        return self._folder

    def files(self, modules: Sequence[Module]) -> Mapping[str, str]:
        """Names of compiled files by module, written into the folder where they are not there yet."""
        folder = self.own_folder()
        found = {}
        for module in modules:
            name = f"{hashlib.sha256(module.text.encode()).hexdigest()[:32]}.osdi"
            if not (folder / name).is_file():
                write_atomic(folder / name, openvaf.compiled(module.text))  # a part of one must not pass for it
            found[module.name] = name
        return found
