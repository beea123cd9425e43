"""VACASK as a simulator: a `Job` in, a `Waveform` out, with the errors, limits and repeats of ngspice.

The job's deck is translated (`calibration.verilog_a.deck`), its models compiled (`calibration.verilog_a.openvaf`) into
a folder of the worker's own, and the program run there by a process that watches it; several jobs share one run. A
deck that cannot be translated is refused in one sentence by file and line; what the circuit does is judged as after a
run of ngspice.
"""

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import NetlistError, SimulationError
from bruno_spice.calibration.spice.ngspice import Job, Ngspice, Simulator, complete, waveform_of
from bruno_spice.calibration.spice.worker_process import WorkerHungError, WorkerLostError
from bruno_spice.calibration.verilog_a import openvaf
from bruno_spice.calibration.verilog_a.compiled import CompiledWorker, translation_identity
from bruno_spice.calibration.verilog_a.deck import MissingError, Translation, analysis_name, deck_of, translate
from bruno_spice.devices.waveform import Waveform

PROCESS = Path(__file__).with_name("vacask_worker.py")


@lru_cache(maxsize=1)
def installed_vacask() -> Ngspice:
    """The installed VACASK; its identity changes with the translation too. Raises `SimulationError` without it."""
    found = openvaf.installed()
    return Ngspice(found.version, f"vacask {found.identity} {translation_identity('vacask', 'vacask_worker')}")


class VacaskWorker(CompiledWorker):
    """Runs one job at a time in VACASK, or several one after another in one run of the program."""

    program = "VACASK"
    script = PROCESS

    def run(self, job: Job) -> Waveform:
        """Simulate `job`; raises what a run in ngspice does, and `NetlistError` for what has no translation."""
        try:
            translation = translate(job.lines, job.vectors, job.models)
        except MissingError as error:
            return self.believed({"status": "missing vectors", "names": error.names}, None, job)
        with self._working:
            request = self._request([translation])
            header, payload = self._again_where_lost(lambda: self._exchange(request), job.label)
        samples = read_raw(payload, translation.vectors) if header["status"] == "done" else None
        if header["status"] == "done" and samples is None:
            raise SimulationError(f"{job.label}: VACASK's result cannot be read; is the disk of temporary files full?")
        return self.believed(header, samples, job)

    def run_together(self, jobs: Sequence[Job]) -> list[Waveform | None]:
        """What one run of the program brings of each of `jobs`: what `run` gives, or None for one to be run alone.

        That is whatever failed, was lost or cannot be with the others: alone it says what is wrong with it.
        """
        together: dict[int, Translation] = {}
        modules: dict[str, str] = {}
        for number, job in enumerate(jobs):
            with contextlib.suppress(MissingError, NetlistError):
                found = translate(job.lines, job.vectors, job.models)
                if all(modules.setdefault(module.name, module.text) == module.text for module in found.modules):
                    together[number] = found
        waveforms: list[Waveform | None] = [None] * len(jobs)
        failures = (WorkerLostError, WorkerHungError, SimulationError, openvaf.CompileError, OSError)
        with self._working, contextlib.suppress(*failures):
            try:
                header, payload = self._exchange(self._request(list(together.values())))
            except BaseException:
                self._end_process()  # an answer may still be on its way
                raise
            ends = accumulate(header["sizes"])
            for (number, translation), end, size in zip(together.items(), ends, header["sizes"], strict=True):
                samples = read_raw(payload[end - size : end], translation.vectors)
                if samples is not None and complete(samples, jobs[number]):
                    waveforms[number] = waveform_of(samples, jobs[number])
        return waveforms

    def _request(self, translations: Sequence[Translation]) -> dict[str, Any]:
        modules = {module.name: module for translation in translations for module in translation.modules}
        return {
            "deck": deck_of(translations, self.files(tuple(modules.values()))),
            "results": [f"{analysis_name(number)}.raw" for number in range(len(translations))],
            "folder": str(self.own_folder()),
            "program": str(openvaf.installed().vacask),
            "time_limit_s": self.time_limit_s,
            "memory_limit_bytes": self.memory_limit_bytes,
        }

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


def by_hand(job: Job, name: str) -> dict[str, str]:
    """What VACASK reads of `job`, as `Simulator.by_hand` has it; it compiles the modules beside the deck itself."""
    translation = translate(job.lines, job.vectors, job.models)
    ends = {module.name: f"-{module.name}.va" for module in translation.modules}
    deck = deck_of([translation], {module: f"{name}{end}" for module, end in ends.items()})
    return {".cir": job.deck, ".sim": deck} | {ends[module.name]: module.text for module in translation.modules}


VACASK = Simulator(installed_vacask, VacaskWorker, together=8, by_hand=by_hand)
