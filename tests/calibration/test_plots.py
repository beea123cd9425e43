"""Figures look the same whatever the user's matplotlibrc says."""

import os
import subprocess
import sys

DRAW = """
import sys
from pathlib import Path
from calibration.plots import new_figure, save
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
    drawn = []
    for name, more in (("plain.png", {}), ("with.png", {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "TkAgg"})):
        command = [sys.executable, "-c", DRAW, str(tmp_path / name)]
        done = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
