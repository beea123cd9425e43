"""Simulate COUNT random RRAM cells and neurons in every simulator here, with one store in FOLDER.

Number and digest of each are printed as a line; before them how long a worker takes to start, in s, and the simulators;
behind them ``done``. The circuits are those of their numbers, which begin at FIRST.

python work.py FIRST COUNT FOLDER [FILE_SIZE_LIMIT]
"""

import contextlib
import hashlib
import resource
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, RRAM_NETLIST, NeuronRun, neuron_job, tightened
from bruno_spice.calibration.circuits.rram_reads import RRAM_VECTORS
from bruno_spice.calibration.errors import SimulationError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.farm import Farm, Job, try_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.ngspice import installed_ngspice
from bruno_spice.calibration.spice.store import Store
from bruno_spice.devices.stimulus import Stimulus
from bruno_spice.devices.waveform import Waveform

BATCH = 100
NEURON_S = 2e-4


def circuits(first: int, count: int) -> list[Job]:
    """So many different ones by turns: a cell that is set, a neuron under three currents one after another."""
    cell, neuron = Netlist.load(RRAM_NETLIST), tightened(neuron_deck(NEURON_NETLIST))
    return [(rram(cell, k) if k % 2 == 0 else driven(neuron, k)) for k in range(first, first + count)]


def rram(deck: Netlist, number: int) -> Job:
    dice = np.random.default_rng(number)
    iprog, ldisc, rdisc = dice.uniform((30e-6, 0.36, 40), (200e-6, 0.44, 50))
    changed = deck.with_params({"iprog": iprog, "ldisc": ldisc, "rdisc": rdisc})
    return transient_job(changed, RRAM_VECTORS, float(dice.uniform(50e-9, 200e-9)))


def driven(deck: Netlist, number: int) -> Job:
    currents_a = np.random.default_rng(number).uniform(-5e-9, 40e-9, 3)
    times_s = np.linspace(0, NEURON_S, 4)
    return neuron_job(deck, NeuronRun(Stimulus(times_s, np.array([0, *currents_a])), NEURON_S))


def simulators() -> list[str]:
    """What is installed."""
    found = []
    for name in SIMULATORS:
        with contextlib.suppress(SimulationError):
            SIMULATORS[name].installed()
            found.append(name)
    return found


def digest(wave: Waveform) -> str:
    """SHA-256 of every bit of `wave`."""
    named = (f"{name} ".encode() + wave[name].tobytes() for name in wave.signals)
    return hashlib.sha256(wave.time_s.tobytes() + b"".join(named)).hexdigest()


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    start, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    limit = int((sys.argv[4:] or [resource.RLIM_INFINITY])[0])
    warnings.simplefilter("ignore", RuntimeWarning)  # that the disk is full, that an entry is damaged
    started_s = time.monotonic()
    installed_ngspice()
    took_s, names = time.monotonic() - started_s, simulators()
    print("start", took_s, *names, flush=True)
    jobs = circuits(start, count)
    for first in range(0, count, BATCH):
        for turn, name in enumerate(names):
            own = [k for k in range(first, min(first + BATCH, count)) if k // 2 % len(names) == turn]
            # VACASK writes its results into files of its own before they are kept
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit if name == "ngspice" else resource.RLIM_INFINITY, -1))
            outcomes = try_jobs([jobs[k] for k in own], Farm(workers=3, store=Store(folder), simulator=name))
            for number, outcome in zip(own, outcomes, strict=True):
                said = digest(outcome) if isinstance(outcome, Waveform) else f"lost: {outcome}"
                print(number, said, flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
