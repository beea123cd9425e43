"""What README promises: its commands exist with their options, its Python runs, its netlist runs by hand."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bruno_spice.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [shlex.split(line, comments=True) for line in README.splitlines() if line.startswith("    bruno ")]


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 10


@pytest.mark.parametrize("words", [c for c in COMMANDS if "COMMAND" not in c], ids=" ".join)
def test_every_command_and_option_of_the_readme_exists(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    named = [w for w in words[1:] if re.fullmatch(r"[a-z-]+", w) and not w.startswith("-")]
    for depth in (2, 1):
        with pytest.raises(SystemExit) as leaving:
            app([*named[:depth], "--help"])
        text = capsys.readouterr().out
        if leaving.value.code == 0 and text:
            break
    assert leaving.value.code == 0
    for option in (w for w in words if w.startswith("--")):
        assert option in text


@pytest.mark.parametrize("target", re.findall(r"`make ([a-z]+)`", README))
def test_every_make_target_of_the_readme_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_python_of_the_readme_runs_and_gives_gradients(monkeypatch):
    monkeypatch.chdir(ROOT)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    names: dict = {}
    exec(code, names)
    assert names["out"].spikes.shape == (40, 16, 200)
    assert names["out"].spikes.mean() > 0
    assert names["synapse"].weight.grad.abs().sum() > 0


def test_the_rram_netlist_runs_by_hand_from_any_folder(tmp_path):
    deck = ROOT / "spice_netlists" / "testbenches" / "rram.cir"
    out = subprocess.run(
        ["ngspice", "-b", deck], cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert out.returncode == 0
    g_s = float(re.search(r"g_after_set_s = ([0-9.e+-]+)", out.stdout).group(1))
    assert g_s == pytest.approx(131e-6, rel=0.05)


def test_the_command_line_starts_without_loading_torch():
    code = "import sys; import bruno_spice.training.commands.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
