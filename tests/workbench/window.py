"""A running workbench and a window on it, for tests: what a user does with hands and eyes, in headless Chromium."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from browser import console_errors
from selenium.common.exceptions import JavascriptException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By

PATIENCE_S = 90.0
"""Other programs may hold the processor, and a model may be compiled for the first time."""
MOVE = """
const range = document.querySelector(`[data-name="${arguments[0]}"] input[type=range]`);
range.value = Number(range.value) + arguments[1];
range.dispatchEvent(new Event(arguments[2]));
"""
DATA = """
const figure = [...Bokeh.index.roots].flatMap(v => v.child_views || []).find(v => v.model.name === arguments[0]);
const source = figure.model.renderers.map(r => r.data_source).find(s => s.name === `${arguments[0]}-${arguments[1]}`);
return source ? [[...source.data.x], [...source.data.y]] : [[], []];
"""
FIGURE = """
return [...Bokeh.index.roots].flatMap(v => v.child_views || []).find(v => v.model.name === arguments[0]).el;
"""
PAINTED = """
return [...Bokeh.index.roots].flatMap(v => v.child_views || []).every(v => !v.has_finished || v.has_finished());
"""
IDLE = """
return workbench.views > 0 && workbench.idle() && document.querySelector('#stop').disabled;
"""


class Server:
    """``bruno workbench`` in `folder`, on a free port."""

    def __init__(self, folder: Path, log: Path, *options: str) -> None:
        self.log = log
        command = [sys.executable, "-P", "-m", "bruno_spice", "workbench", "--no-browser", *options]
        self._log = log.open("w")
        self.process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=self._log, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/([\w-]+)/\w+", said)
        assert found, f"{said}\n{log.read_text()}"
        self.port, self.token, self.said = int(found[1]), found[2], said.split()[-1]

    def address(self, page: str) -> str:
        """Of `page`."""
        return f"http://127.0.0.1:{self.port}/{self.token}/{page}"

    def faults(self) -> list[str]:
        """Lines of the server's log that tell of an exception or an error; that it keeps others out is none."""
        lines = [line for line in self.log.read_text().splitlines() if re.search(r"Traceback|ERROR|Uncaught", line)]
        return [line for line in lines if "Refusing websocket connection from Origin" not in line]

    def memory_bytes(self) -> int:
        """Resident memory of the server."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]

    def end(self) -> None:
        """As Ctrl-C does."""
        self.process.terminate()
        self.process.wait(timeout=60)
        self._log.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def serving(folder: Path, log: Path, *options: str) -> Iterator[Server]:
    """A server that ends with the block."""
    server = Server(folder, log, *options)
    try:
        yield server
    finally:
        server.end()


class Window:
    """One window of the browser on a page."""

    def __init__(self, driver: Any, server: Server) -> None:
        self.driver, self.server = driver, server

    def open(self, page: str, query: str = "", width: int = 1280) -> "Window":
        """Open `page` and wait until everything is there."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get_log("browser")
        self.driver.get(self.server.address(page) + (f"?{query}" if query else ""))
        self.wait()
        return self

    def wait(self) -> float:
        """Until nothing is asked or computed any more; the seconds that took."""
        started = time.monotonic()
        time.sleep(0.05)
        while time.monotonic() - started < PATIENCE_S:
            try:
                if self.driver.execute_script(IDLE):
                    return time.monotonic() - started
            except JavascriptException:
                pass  # the page is being loaded
            time.sleep(0.02)
        raise TimeoutError(f"the page is still busy: {self.text('state')}; {self.server.log.read_text()[-2000:]}")

    def view(self) -> dict[str, Any]:
        """What the server told last."""
        return dict(self.driver.execute_script("return workbench.last()"))

    def find(self, selector: str) -> Any:
        """An element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, name: str) -> str:
        """Of the element with that id."""
        return str(self.driver.execute_script("return document.getElementById(arguments[0]).textContent", name))

    def click(self, name: str) -> None:
        """A button by its id, and wait."""
        self.driver.execute_script("document.getElementById(arguments[0]).click()", name)
        self.wait()

    def move(self, knob: str, steps: int, settled: bool = True) -> None:
        """A slider by thousandths of its way."""
        self.driver.execute_script(MOVE, knob, steps, "change" if settled else "input")

    def write(self, knob: str, text: str) -> None:
        """Into the field of a parameter, and wait."""
        script = "const f = document.querySelector(`[data-name='${arguments[0]}'] input[type=text]`); "
        script += "f.value = arguments[1]; f.dispatchEvent(new Event('change'));"
        self.driver.execute_script(script, knob, text)
        self.wait()

    def tick(self, knob: str) -> None:
        """Free a parameter, or hold it, and wait."""
        self.driver.execute_script(
            "document.querySelector(`[data-name='${arguments[0]}'] input[type=checkbox]`).click()", knob
        )
        self.wait()

    def choose(self, name: str, value: str) -> None:
        """One of the choices, and wait."""
        script = "const c = document.querySelector(`#choices [name='${arguments[0]}']`); "
        script += "c.value = arguments[1]; c.dispatchEvent(new Event('change'));"
        self.driver.execute_script(script, name, value)
        self.wait()

    def upload(self, path: Path) -> None:
        """A file, and wait."""
        self.find("#upload").send_keys(str(path))
        self.wait()

    def curve(self, panel: str, role: str) -> tuple[list[float], list[float]]:
        """Abscissae and ordinates of a line."""
        x, y = self.driver.execute_script(DATA, panel, role)
        return x, y

    def drag(self, panel: str, first: float, last: float) -> None:
        """Across a figure, between shares of its width, and wait for the region; it is told by no request."""
        before, limit = self.view()["region"], time.monotonic() + PATIENCE_S
        while not self.driver.execute_script(PAINTED) and time.monotonic() < limit:
            time.sleep(0.05)  # a figure that is laid out yet lies elsewhere
        figure = self.driver.execute_script(FIGURE, panel)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
        width = figure.size["width"]
        mouse = ActionChains(self.driver).move_to_element_with_offset(figure, int((first - 0.5) * width), 0)
        half = int((last - first) * width / 2)
        mouse.click_and_hold().move_by_offset(half, 3).move_by_offset(half, 3).release().perform()
        while self.view()["region"] == before and time.monotonic() < limit:
            time.sleep(0.05)
        self.wait()

    def errors(self) -> list[str]:
        """Of the console."""
        return console_errors(self.driver)
