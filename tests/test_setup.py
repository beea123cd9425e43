"""The set-up on a machine that has what it needs; `tests/setup_as_user.sh` tries it whole."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "spice_netlists" / "install_ngspice.sh"


def test_ngspice_is_found_by_a_user_whose_path_has_no_sbin(tmp_path):
    if not Path("/sbin/ldconfig").exists():
        pytest.skip("no /sbin/ldconfig here")
    for name in ("bash", "ngspice", "grep", "ls", "id"):  # and nothing that installs
        (tmp_path / name).symlink_to(shutil.which(name))
    done = subprocess.run(["bash", SCRIPT], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
