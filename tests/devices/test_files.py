"""Files that appear whole, folders that one command writes at a time."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from bruno_spice.devices.errors import BusyError
from bruno_spice.devices.files import folder_lock

HOLD = (
    "import sys; from bruno_spice.devices.files import folder_lock\n"
    "with folder_lock(sys.argv[1]):\n    print('held', flush=True); sys.stdin.read()\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path/run until its standard input ends."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_that_another_process_writes_is_refused_by_its_name(holder, tmp_path):
    says = f"run is being written by process {holder.pid} on .*; wait until it has ended, or name another folder"
    with pytest.raises(BusyError, match=says), folder_lock(tmp_path / "run"):
        pytest.fail("two commands write one folder")
    with folder_lock(tmp_path / "other"):
        pass


def test_the_lock_ends_with_the_command_and_leaves_nothing(holder, tmp_path):
    holder.communicate("")
    assert not (tmp_path / "run").exists()  # it wrote nothing there
    with folder_lock(tmp_path / "run"):
        (tmp_path / "run" / "card.json").write_text("{}")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["card.json"]


def test_the_lock_of_a_killed_command_holds_no_one_up(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / ".lock").exists()
    with folder_lock(tmp_path / "run"):
        assert str(os.getpid()) in (tmp_path / "run" / ".lock").read_text()


def test_the_lock_of_a_received_folder_writes_nowhere_else(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(OSError, match="symbolic links"), folder_lock(tmp_path / "run"):
        pass
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_lock_file_that_went_with_the_last_command_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    opened_too_early, lock = [], fcntl.flock

    def flock(handle, operation):
        if not opened_too_early:  # the last command ends here, between our opening and our locking
            opened_too_early.append(handle)
            (tmp_path / ".lock").unlink()
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with folder_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()
    assert opened_too_early
