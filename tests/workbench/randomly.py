"""Many random interactions with the workbench in a browser, and what must not happen meanwhile.

python tests/workbench/randomly.py COUNT [--seed N]

Sliders are dragged, fields written (sense and nonsense), parameters ticked, files uploaded whole and broken, fits begun
and stopped, steps undone, pages changed and reloaded. Counted are exceptions of the server, errors in the console of
the browser, and windows that do not answer; the server's memory must not grow. Prints JSON; exit code 1 where anything
was counted or the memory grew by more than `MOST_GROWTH` from the first half to the end.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from browser import THIS_MACHINE, chromium  # noqa: E402
from window import Server, Window  # noqa: E402

from bruno_spice.devices.cards.calibrated import calibrated_card  # noqa: E402

CASES = Path(__file__).parents[1] / "cases"
FILES = ["fecap/loop.csv", "measured/radiant.txt", "measured/aixacct_dhm.dat", "measured/rram_set.csv",
         "measured/rram_relaxation.csv", "fecap/minor_loop_sixth_cycle.csv"]  # fmt: skip
TEXTS = (
    "",
    "1",
    "-3",
    "1e400",
    "nan",
    "25p",
    "0",
    "NaN V",
    "<script>alert(1)</script>",
    "1:2",
    "0.1m:0.6m",
    "../x",
    "é" * 300,
)
PAGES = ("fecap", "neuron", "rram", "cards", "runs")
WARM = (
    "runs", "cards?b=other.json", "rram?file=cells.csv", "neuron", "fecap?file=loop.csv&view=measured",
    "fecap?view=kinetics", "fecap",
)  # fmt: skip
"""Opened before anything is counted: what is imported for what they show stays, and is no growth."""
MOST_GROWTH = 0.1


class Hand:
    """What a restless user does, drawn from `seed`."""

    def __init__(self, window: Window, seed: int, folder: Path) -> None:
        self.window, self.rng, self.folder = window, random.Random(seed), folder
        self.done: Counter[str] = Counter()

    def once(self) -> None:
        """One interaction."""
        names = {"slider": 10, "field": 2, "tick": 2, "button": 4, "choice": 3, "region": 1, "upload": 2, "fit": 1,
                 "reload": 1, "page": 1}  # fmt: skip
        name = self.rng.choices(list(names), list(names.values()))[0]
        self.done[name] += 1
        getattr(self, f"_{name}")()

    def _knob(self) -> str:
        knobs = self.window.view()["knobs"]
        return self.rng.choice(knobs)["name"] if knobs else ""

    def _slider(self) -> None:
        if knob := self._knob():
            for _ in range(3):
                self.window.move(knob, self.rng.randint(-150, 150), settled=False)
            self.window.move(knob, self.rng.randint(-30, 30))
            self.window.wait()

    def _field(self) -> None:
        if knob := self._knob():
            self.window.write(knob, self.rng.choice(TEXTS))

    def _tick(self) -> None:
        if free := [knob["name"] for knob in self.window.view()["knobs"] if knob["free"]]:
            self.window.tick(self.rng.choice(free))

    def _button(self) -> None:
        self.window.click(self.rng.choice(("undo", "undo", "redo", "reset", "best", "theme", "save")))

    def _choice(self) -> None:
        choice = self.rng.choice(self.window.view()["choices"])
        options = [value for value, _ in choice["options"]] or TEXTS
        self.window.choose(choice["name"], self.rng.choice(options))

    def _region(self) -> None:
        script = (
            "const f = document.getElementById('region'); f.value = arguments[0]; f.dispatchEvent(new Event('change'))"
        )
        self.window.driver.execute_script(script, self.rng.choice(TEXTS))
        self.window.wait()

    def _upload(self) -> None:
        if not self.window.driver.execute_script("return !document.getElementById('files').hidden"):
            return  # the page takes no files
        content = bytearray((CASES / self.rng.choice(FILES)).read_bytes())
        if self.rng.random() < 0.7:
            for _ in range(self.rng.randint(1, 60)):
                content[self.rng.randrange(len(content))] = self.rng.randrange(256)
            del content[self.rng.randrange(len(content)) :]
        path = self.folder / f"file{self.rng.randrange(20)}.{self.rng.choice(('csv', 'dat', 'json'))}"
        path.write_bytes(content)
        self.window.upload(path)

    def _fit(self) -> None:
        self.window.driver.execute_script("document.getElementById('fit').click()")
        if self.rng.random() < 0.7:
            self._slider_without_waiting()
            self.window.driver.execute_script("document.getElementById('stop').click()")
        self.window.wait()

    def _slider_without_waiting(self) -> None:
        if knob := self._knob():
            self.window.move(knob, self.rng.randint(-50, 50), settled=False)

    def _reload(self) -> None:
        self.window.driver.refresh()
        self.window.wait()

    def _page(self) -> None:
        page = self.rng.choice(PAGES)
        self.window.driver.execute_script(f"document.querySelector('nav a[data-to={page}]').click()")
        self.window.wait()


def interactions(window: Window, count: int, seed: int, folder: Path) -> dict[str, Any]:
    """What became of `count` interactions."""
    hand, console, memory = Hand(window, seed, folder), [], []
    for _ in range(count):
        hand.once()
        console += window.errors()
        memory.append(window.server.memory_bytes())
    half = max(memory[: max(1, count // 2)])
    return {
        "interactions": dict(hand.done),
        "console": console,
        "server": window.server.faults(),
        "memory_MB": [round(each / 1e6) for each in memory[:: max(1, count // 10)]],
        "growth": round(max(memory) / half - 1, 4),
    }


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "start").mkdir()
        (folder / "files").mkdir()
        for name, case in (("cells.csv", "measured/rram_relaxation.csv"), ("loop.csv", "fecap/loop.csv")):
            shutil.copy(CASES / case, folder / "start" / name)
        shutil.copy(calibrated_card("felif"), folder / "start" / "other.json")
        server = Server(folder / "start", folder / "log.txt")
        try:
            with chromium(folder / "profile", THIS_MACHINE) as driver:
                window = Window(driver, server)
                for page, _, query in (each.partition("?") for each in WARM):
                    window.open(page, query)
                found = interactions(window, asked.count, asked.seed, folder / "files")
        finally:
            server.end()
    print(json.dumps(found, indent=1))
    return int(bool(found["console"] or found["server"]) or found["growth"] > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
