"""Figures look the same whatever the user's matplotlibrc says."""

import os
import subprocess
import sys

DRAW = """
import sys
from pathlib import Path
from bruno_spice.calibration.presentation.style import new_figure, save
figure = new_figure(1, 2)
figure.axes[0].plot([1, 2, 3], [1e-9, 3e-9, 2e-9], label="a_b & 50 %")
figure.axes[0].set_title("$x^2$ of n_1")
figure.axes[0].legend()
save(figure, Path(sys.argv[1]))
"""
RC = """
text.usetex: True
backend: TkAgg
font.family: No Such Font
axes.prop_cycle: cycler('color', ['r'])
figure.dpi: 40
savefig.format: svg
axes.formatter.use_locale: True
savefig.bbox: tight
"""


def test_a_matplotlibrc_of_the_users_changes_no_pixel(tmp_path):
    (tmp_path / "matplotlibrc").write_text(RC)
    command = [sys.executable, "-c", DRAW, str(tmp_path / "with.png")]
    environment = os.environ | {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "TkAgg"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    exec(DRAW.replace("sys.argv[1]", repr(str(tmp_path / "plain.png"))), {})
    assert (tmp_path / "with.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
