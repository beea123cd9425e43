"""VACASK as a simulator: a `Job` in, a `Waveform` out, with the errors, limits and repeats of ngspice.

The job's deck is translated (`calibration.verilog_a.deck`), its models compiled (`calibration.verilog_a.openvaf`) into
a folder of the worker's own, and the program run there by a process that watches it. A deck that cannot be translated
is refused in one sentence by file and line; what the circuit does is judged as after a run of ngspice.
"""

import hashlib
import shutil
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice.ngspice import (
    MEMORY_LIMIT_BYTES,
    TIME_LIMIT_S,
    Job,
    Ngspice,
    Simulator,
    Worker,
)
from bruno_spice.calibration.spice.worker_process import own_folder
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.deck import MissingError, Translation, translate
from bruno_spice.devices.waveform import Waveform

PROCESS = Path(__file__).with_name("vacask_worker.py")


@lru_cache(maxsize=1)
def installed_vacask() -> Ngspice:
    """The installed VACASK; its identity changes with the translation too. Raises `SimulationError` without it."""
    found = openvaf.installed()
    digest = hashlib.sha256()
    for name in ("circuit", "deck", "expressions", "module"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return Ngspice(found.version, f"vacask {found.identity}-{digest.hexdigest()[:16]}")


class VacaskWorker(Worker):
    """Runs one job at a time in VACASK."""

    program, script = "VACASK", PROCESS

    def __init__(self, time_limit_s: float = TIME_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        super().__init__(time_limit_s, memory_limit_bytes)
        self._folder: Path | None = None

    def close(self) -> None:
        """End the worker process and remove its folder."""
        super().close()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, job: Job) -> Waveform:
        """Simulate `job`; raises what a run in ngspice does, and `NetlistError` for what has no translation."""
        installed = openvaf.installed()
        try:
            translation = translate(job.lines, job.vectors)
        except MissingError as error:
            return self.believed({"status": "missing vectors", "names": error.names}, None, job)
        with self._working:
            folder = self._own_folder()
            request = {
                "deck": translation.text(self._files(translation, folder)),
                "folder": str(folder),
                "program": str(installed.vacask),
                "time_limit_s": self.time_limit_s,
                "memory_limit_bytes": self.memory_limit_bytes,
            }
            header, payload = self._again_where_lost(lambda: self._exchange(request), job.label)
        samples = read_raw(payload, translation.vectors) if header["status"] == "done" else None
        return self.believed(header, samples, job)

    def _own_folder(self) -> Path:
        if self._closed.is_set():
            raise SimulationError("the simulation farm was closed")
        if self._folder is None:
            self._folder = own_folder("vacask-")
        return self._folder

    def _files(self, translation: Translation, folder: Path) -> Mapping[str, str]:
        """Compiled files by module, written into `folder` where they are not there yet."""
        files = {}
        for module in translation.modules:
            name = f"{hashlib.sha256(module.text.encode()).hexdigest()[:32]}.osdi"
            if not (folder / name).is_file():
                (folder / name).write_bytes(openvaf.compiled(module.text))
            files[module.name] = name
        return files

    def _about(self, greeting: dict[str, Any]) -> Ngspice:
        return installed_vacask()


def read_raw(data: bytes, names: tuple[str, ...]) -> NDArray[np.float64] | None:
    """Time and `names` (1 + n, points) of a binary result file; None where it is damaged or lacks one."""
    head, mark, body = data.partition(b"Binary:\n")
    lines = head.decode(errors="replace").splitlines()
    sizes = {key.strip(): value for key, _, value in (line.partition(":") for line in lines)}
    try:
        count, points = int(sizes["No. Variables"]), int(sizes["No. Points"])
        first = lines.index("Variables:") + 1
        found = [line.split()[1] for line in lines[first : first + count]]
        samples = np.frombuffer(body, "<f8", count * points).reshape(points, count)
        rows = [found.index(name) for name in ("time", *names)]
    except (KeyError, ValueError, IndexError):
        return None
    return samples[:, rows].T.copy() if mark else None


VACASK = Simulator(installed_vacask, VacaskWorker)
