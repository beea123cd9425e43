"""Simulate COUNT small circuits in one farm with its store in FOLDER, and print number and digest of each as a line.

Before them stands how long a worker takes to start, in s, behind them ``done``.

python work.py COUNT FOLDER [FILE_SIZE_LIMIT]
"""

import hashlib
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, NeuronRun, neuron_jobs
from bruno_spice.calibration.spice.farm import Farm, Job, try_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.ngspice import installed_ngspice
from bruno_spice.calibration.spice.store import Store
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

RC = "* rc\n.param r=1k\nR1 in out {r}\nC1 out 0 1n\nV1 in 0 PWL(0 0 1n 1)\n.tran 100n 5u 0 100n\n"
NEURON_EVERY = 50
BATCH = 250


def circuits(count: int) -> list[Job]:
    """So many different ones: RC circuits, and now and then a neuron."""
    rc = Netlist.from_text(RC, "rc.cir")
    jobs = [transient_job(rc.with_params({"r": 1e3 + k}), ["v(out)"], None) for k in range(count)]
    own = range(NEURON_EVERY // 2, count, NEURON_EVERY)
    runs = [NeuronRun(Stimulus.dc(2e-8 + 1e-11 * k), 2e-4) for k in own]
    for k, job in zip(own, neuron_jobs(runs, NEURON_NETLIST), strict=True):
        jobs[k] = job
    return jobs


def digest(wave: Waveform) -> str:
    """SHA-256 of every bit of `wave`."""
    named = (f"{name} ".encode() + wave[name].tobytes() for name in wave.signals)
    return hashlib.sha256(wave.time_s.tobytes() + b"".join(named)).hexdigest()


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    count, folder = int(sys.argv[1]), Path(sys.argv[2])
    if sys.argv[3:]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
    warnings.simplefilter("ignore", RuntimeWarning)  # that the disk is full, that an entry is damaged
    started_s = time.monotonic()
    installed_ngspice()
    print("start", time.monotonic() - started_s, flush=True)
    jobs = circuits(count)
    farm = Farm(workers=3, store=Store(folder))
    for first in range(0, count, BATCH):
        for number, outcome in enumerate(try_jobs(jobs[first : first + BATCH], farm), first):
            said = digest(outcome) if isinstance(outcome, Waveform) else f"lost: {outcome}"
            print(number, said, flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
