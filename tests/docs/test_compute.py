"""The commands of howto/compute.md that ask for other machines, run as they stand, but on this one and smaller."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from blocks import blocks, commands

from bruno_spice.calibration.cards.export import export_card
from bruno_spice.devices.cards.base import FeLIFCard
from tests.support.cards import one_domain_card

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "compute.md"
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "200",
}
SMALL = " --epochs 1 --set network.hidden=[8] --set training.batch_size=512 --set threads=1"


def shown(word):
    """The page's one command for another machine that holds `word`."""
    (found,) = [command for command in elsewhere(PAGE) if f"{word} " in f"{command} "]
    return found


def changed(command, changes):
    """`command` with every key of `changes`, which must be in it, replaced by its value."""
    for there, here in changes.items():
        assert there in command
        command = command.replace(there, here)
    return command


def start(command):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(["bash", "-c", f"exec {command}"], env=ENVIRONMENT, **quiet)


def run(command, **variables):
    environment = ENVIRONMENT | variables
    return subprocess.run(["bash", "-c", command], env=environment, text=True, capture_output=True, timeout=240)


def elsewhere(page):
    """The commands of `page` for other machines."""
    return [command for block in blocks(page) if block.kind == "elsewhere" for command in commands(block.body)]


def test_no_page_has_a_command_for_other_machines_that_is_not_run_here():
    words = ("scheduler", "dask worker", "bruno calibrate", "torchrun", "--device cuda")
    found = [command for page in sorted((ROOT / "docs").rglob("*.md")) for command in elsewhere(page)]
    assert sorted(found) == sorted(shown(word) for word in words)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the cards."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def on_braille(data_folder, monkeypatch):
    """Braille at hand for processes of their own."""
    monkeypatch.setitem(ENVIRONMENT, "BRUNO_DATA", str(data_folder))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_calibration_on_a_dask_cluster_writes_its_card(folder):
    place = f"127.0.0.1:{free_port()}"
    scheduler = changed(
        shown("scheduler"), {"scheduler": f"scheduler --no-dashboard --dashboard-address :0 --host tcp://{place}"}
    )
    worker = changed(shown("dask worker"), {"head-node:8786": place})
    card = one_domain_card()
    circuit, _ = export_card(card, folder, "mine")  # of one domain: a tenth of the time of the project's film
    calibrate = {
        "calibrate all": f"calibrate neuron --netlist {circuit} --domains 1 --monte-carlo 0 --network-traces 0",
        "head-node:8786": place,
    }
    processes = [start(scheduler)]
    try:
        deadline = time.monotonic() + 60
        while not answers(int(place.split(":")[1])) and time.monotonic() < deadline:
            time.sleep(0.1)
        processes.append(start(worker))
        done = run(changed(shown("bruno calibrate"), calibrate), BRUNO_CACHE=str(folder / "store"))
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=30)
    assert done.returncode == 0, done.stderr
    fitted = FeLIFCard.load(folder / "data" / "calibrated" / "felif.json")
    assert fitted.provenance.netlist == "mine.lib"
    assert fitted["activation_field_1"] == pytest.approx(card["activation_field_1"], rel=1e-3)


def test_training_in_several_processes_leaves_its_result(on_braille, folder):
    done = run(changed(shown("torchrun"), {"nproc_per_node 4": "nproc_per_node 2"}) + SMALL + " --neuron lif")
    assert done.returncode == 0, done.stderr
    assert (folder / "runs" / "braille27" / "result.json").exists()


def test_training_on_a_gpu_leaves_its_result_or_says_that_there_is_none(on_braille, folder):
    done = run(shown("--device cuda") + SMALL)
    if torch.cuda.is_available():
        assert done.returncode == 0, done.stderr
        assert (folder / "runs" / "gpu" / "result.json").exists()
    else:
        assert done.returncode == 2
        assert "error: device 'cuda' cannot be used here" in done.stderr
        assert "Traceback" not in done.stderr
