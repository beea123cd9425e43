"""Jobs of the workbench: they tell how far they are, and leave nothing where they are ended."""

import os
import threading
import time
from queue import SimpleQueue

from bruno_spice.calibration.circuits.experiments import simulate_neuron
from bruno_spice.calibration.spice.farm import Farm
from bruno_spice.calibration.workbench.jobs import Job, Queue
from bruno_spice.devices.errors import InputError
from bruno_spice.devices.stimulus import Stimulus


def slow_but_heard(seconds, progress):
    progress("begun")
    time.sleep(seconds)
    return "done"


def simulating(folder, progress):
    os.environ["TMPDIR"] = str(folder)
    progress("begun")
    simulate_neuron(Stimulus.dc(3e-9), 5.0, farm=Farm(store=None))


def refused(progress):
    raise InputError("one sentence")


def _messages(job_function, *arguments, count):
    heard = []
    job = Job(lambda _, message: heard.append(message), job_function, *arguments)
    limit = time.monotonic() + 60
    while len(heard) < count and time.monotonic() < limit:
        time.sleep(0.01)
    return job, heard


def test_a_job_tells_and_ends_and_a_cancelled_one_is_silent():
    assert _messages(slow_but_heard, 0.0, count=2)[1] == [("progress", "begun"), ("done", "done")]
    assert _messages(refused, count=1)[1] == [("error", "one sentence")]
    job, heard = _messages(slow_but_heard, 60.0, count=1)
    job.cancel()
    job._thread.join(10)
    assert not job._thread.is_alive()
    assert heard == [("progress", "begun")]


def test_a_job_that_is_cancelled_leaves_nothing_on_the_disk(tmp_path):
    job, heard = _messages(simulating, tmp_path, count=1)
    assert heard == [("progress", "begun")]
    limit = time.monotonic() + 60
    while not (made := list(tmp_path.iterdir())) and time.monotonic() < limit:
        time.sleep(0.01)
    assert made
    time.sleep(0.5)  # in the midst of it
    job.cancel()
    while list(tmp_path.iterdir()) and time.monotonic() < limit:
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []


def test_calls_of_a_window_come_one_after_another_and_a_failed_one_ends_none(caplog):
    calls, done = Queue(), SimpleQueue()
    calls.put(lambda: 1 / 0)
    for number in (1, 2):
        calls.put(lambda number=number: done.put((number, threading.current_thread())))
    (one, there), (two, again) = (done.get(timeout=10) for _ in range(2))
    assert (one, two, there is again, there is threading.main_thread()) == (1, 2, True, False)
    assert "ZeroDivisionError" in caplog.text
    calls.end()
    there.join(10)
    assert not there.is_alive()
