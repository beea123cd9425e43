"""How fast the workbench answers in a browser, in s: from its start to the first curve, from a slider to new curves.

python tests/workbench/times.py [--repeats N]

Three times are taken on each page that simulates: the start (``bruno workbench PAGE`` as a new process, its page opened
in a browser that runs already, until a first curve is drawn), a slider that is dragged (until the page has drawn the
model for it) and a slider that is let go (until SPICE's curve has changed). The pages without sliders have a start
alone, Runs with a run of its own. Prints JSON with medians and all values.
Other work on the machine makes them longer: nothing else may run.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from browser import THIS_MACHINE, chromium  # noqa: E402
from window import Server, Window, serving  # noqa: E402

from bruno_spice.training.networks.config import RunConfig  # noqa: E402
from bruno_spice.training.runs.trainer import train  # noqa: E402

EPOCHS = 6
SLIDERS = {
    "fecap": ("loop", "ps", "ps"),
    "neuron": ("membrane", "current", "current"),
    "rram": ("set", "r_series", "deck.ninit"),
}
"""Of each page a figure, and the parameters that move the curves of model and SPICE there."""
OPENS = {
    **{page: (page, panel, "model") for page, (panel, _, _) in SLIDERS.items()},
    "cards": ("cards", "latency", "a"),
    "runs": ("runs?runs=run", "curve", "a"),
}
"""Of each page what it is opened with, and its first curve."""
RUN = {
    "task": "pulses",
    "task_options": {"trials": 60, "steps": 10},
    "network": {"hidden": [6], "neuron": "felif"},
    "training": {"epochs": EPOCHS, "batch_size": 8},
}
"""What the page Runs shows."""
FIRST = """
(() => {
  const drawn = setInterval(() => {
    const figures = window.Bokeh ? [...Bokeh.index.roots].flatMap(v => v.child_views || []) : [];
    const figure = figures.find(v => v.model.name === "PANEL");
    const source = figure && figure.model.renderers.map(r => r.data_source).find(s => s.name === "PANEL-ROLE");
    if (!source || source.data.x.length <= 5 || !figure.has_finished()) return;
    clearInterval(drawn);
    requestAnimationFrame(() => setTimeout(() => { window.firstCurve = performance.timeOrigin + performance.now(); }));
  }, 20);
})();
"""
"""A page notes by itself when it has painted its first curve: being asked all the time it would take longer."""
CHANGED = """
const source = [...Bokeh.index.roots].flatMap(v => v.child_views || []).find(v => v.model.name === arguments[0])
  .model.renderers.map(r => r.data_source).find(s => s.name === `${arguments[0]}-spice`);
const said = source && source.data.y.reduce((sum, y, k) => sum + y * (1 + k % 7), 0), changed = window.spice !== said;
window.spice = said;
return changed;
"""


def until(true: Any, pause_s: float = 0.01, limit_s: float = 60.0) -> float:
    """Seconds until `true()` holds, asked every `pause_s`."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > limit_s:
            raise TimeoutError(f"nothing came within {limit_s:g} s")
        time.sleep(pause_s)
    return time.monotonic() - started


def start_s(driver: Any, page: str, folder: Path) -> float:
    """From the command to the first curve of `page`."""
    opened, panel, role = OPENS[page]
    note = {"source": FIRST.replace("PANEL", panel).replace("ROLE", role)}
    note = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", note)
    started_s = time.time()
    with serving(folder, folder.parent / "log.txt", page) as server:
        driver.get(server.address(opened))
        until(lambda: driver.execute_script("return window.firstCurve"), pause_s=0.25)
        drawn_s = float(driver.execute_script("return window.firstCurve")) / 1e3
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", note)
    return drawn_s - started_s


def answers_s(window: Window, page: str, repeats: int) -> dict[str, list[float]]:
    """From a slider of `page` to the model's curve as it is dragged, and to SPICE's as it is let go."""
    panel, of_model, of_spice = SLIDERS[page]
    window.open(page)
    window.driver.execute_script("workbench.latencies.length = 0")
    for step in range(10 * repeats):
        window.move(of_model, 3 if step % 20 < 10 else -3, settled=False)
        time.sleep(0.1)  # SPICE waits for a hand that rests longer
    window.wait()
    model = [each / 1e3 for each in window.driver.execute_script("return workbench.latencies")]
    spice = []
    for step in range(repeats):
        window.driver.execute_script(CHANGED, panel)
        window.move(of_spice, 7 + step)
        spice.append(until(lambda: window.driver.execute_script(CHANGED, panel)))
        window.wait()
    return {"model": model, "spice": spice}


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "start"
        folder.mkdir()
        train(RunConfig.model_validate(RUN), folder / "run")
        with chromium(Path(name) / "profile", THIS_MACHINE) as driver:
            driver.execute_cdp_cmd("Page.enable", {})
            for page in OPENS:
                found[page] = {"start": [start_s(driver, page, folder) for _ in range(repeats)]}
            server = Server(folder, folder.parent / "log.txt")
            try:
                for page in SLIDERS:
                    found[page] |= answers_s(Window(driver, server), page, repeats)
            finally:
                server.end()
    report = {
        page: {name: {"median": round(statistics.median(times), 3), "all": [round(each, 3) for each in times]}
               for name, times in measured.items()}
        for page, measured in found.items()
    }  # fmt: skip
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
