"""mypy over the whole package, or an error: without its folder of links (`mypy_path`) it sees one file, content."""

import re
import subprocess
import sys
from pathlib import Path

FOLDERS = ("bruno_spice", "devices", "calibration", "training", "spice_netlists")


def source_files(root: Path) -> int:
    """The number of Python files of the package in the checkout `root`."""
    return sum(1 for name in FOLDERS for _ in (root / name).rglob("*.py"))


def too_few(said: str, files: int) -> str:
    """What is wrong where mypy's last line does not speak of as many `files`; else nothing."""
    counted = re.search(r"(?:in|checked) (\d+) source files?\)?\s*$", said)
    checked = int(counted.group(1)) if counted else 0
    if checked == files:
        return ""
    return f"mypy checked {checked} of {files} files; look at mypy_path in pyproject.toml and at the links in linked/"


def main(root: Path) -> int:
    """The exit status of mypy in `root`; 1 where it left out a file."""
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=root, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="")
    if wrong := too_few(done.stdout, source_files(root)):
        print(wrong, file=sys.stderr)
    return done.returncode or bool(wrong)


if __name__ == "__main__":
    sys.exit(main(Path.cwd()))
