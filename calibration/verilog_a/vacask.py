"""VACASK as a simulator: a `Job` in, a `Waveform` out, with the errors, limits and repeats of ngspice.

The job's deck is translated (`calibration.verilog_a.deck`), its models compiled (`calibration.verilog_a.openvaf`) into
a folder of the worker's own, and the program run there by a process that watches it. A deck that cannot be translated
is refused in one sentence by file and line; what the circuit does is judged as after a run of ngspice.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.spice.ngspice import (
    Job,
    Ngspice,
    Simulator,
)
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.compiled import CompiledWorker, translation_identity
from bruno_spice.calibration.verilog_a.deck import MissingError, translate
from bruno_spice.devices.waveform import Waveform

PROCESS = Path(__file__).with_name("vacask_worker.py")


@lru_cache(maxsize=1)
def installed_vacask() -> Ngspice:
    """The installed VACASK; its identity changes with the translation too. Raises `SimulationError` without it."""
    found = openvaf.installed()
    return Ngspice(found.version, f"vacask {found.identity} {translation_identity('deck')}")


class VacaskWorker(CompiledWorker):
    """Runs one job at a time in VACASK."""

    program = "VACASK"
    script = PROCESS

    def run(self, job: Job) -> Waveform:
        """Simulate `job`; raises what a run in ngspice does, and `NetlistError` for what has no translation."""
        installed = openvaf.installed()
        try:
            translation = translate(job.lines, job.vectors, job.models)
        except MissingError as error:
            return self.believed({"status": "missing vectors", "names": error.names}, None, job)
        with self._working:
            request = {
                "deck": translation.text(self.files(translation.modules)),
                "folder": str(self.own_folder()),
                "program": str(installed.vacask),
                "time_limit_s": self.time_limit_s,
                "memory_limit_bytes": self.memory_limit_bytes,
            }
            header, payload = self._again_where_lost(lambda: self._exchange(request), job.label)
        samples = read_raw(payload, translation.vectors) if header["status"] == "done" else None
        return self.believed(header, samples, job)

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
