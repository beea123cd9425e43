"""The documentation, built once for a file of tests, and a browser to look at it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """The finished process of a strict build, and the folder of the site."""
    site = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    return done, site


@pytest.fixture(scope="module")
def site(build):
    """The folder of the site."""
    done, folder = build
    assert done.returncode == 0, done.stderr
    return folder
