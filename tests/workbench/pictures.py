"""The pictures of the workbench in the documentation: python tests/workbench/pictures.py [FOLDER] (default: docs)."""

import base64
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from browser import THIS_MACHINE, chromium  # noqa: E402
from window import Server, Window  # noqa: E402

LOOP = HERE.parent / "cases" / "fecap" / "loop.csv"


def picture(window: Window, path: Path, width: int, height: int) -> None:
    """The window at that size as a PNG."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    window.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    window.driver.execute_script("scrollTo(0, 0); document.activeElement.blur()")
    window.wait()
    window.driver.execute_async_script("setTimeout(arguments[0], 700)")
    path.write_bytes(base64.b64decode(window.driver.execute_cdp_cmd("Page.captureScreenshot", {})["data"]))


def main(out: Path) -> None:
    """A fitted loop in the light, a tuned neuron in the dark."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "start").mkdir()
        server = Server(folder / "start", folder / "log.txt")
        try:
            with chromium(folder / "profile", THIS_MACHINE) as driver:
                window = Window(driver, server).open("fecap")
                window.upload(LOOP)
                window.choose("unit", "t=us v=V q=uC/cm2")
                window.click("fit")
                window.click("save")
                picture(window, out / "workbench_fecap.png", 1280, 1060)
                window.open("neuron")
                window.move("alpha", 12)
                window.wait()
                window.click("theme")
                picture(window, out / "workbench_neuron.png", 1280, 1000)
        finally:
            server.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1] / "docs")
