"""A real browser for the tests that open pages: headless Chromium, with no network to speak of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND"
"""Makes every address but a file's an error, which the console then shows."""
THIS_MACHINE = f"{NOWHERE} , EXCLUDE 127.0.0.1"
"""The same, but for servers on this machine."""

CLIPPED = """
return [...document.querySelectorAll('body *')].filter(e => {
  const style = getComputedStyle(e);
  const clips = style.overflowX === 'hidden' || style.overflowX === 'clip';
  const words = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  return words && clips && e.checkVisibility({visibilityProperty: true}) && e.clientWidth > 1
    && e.scrollWidth > e.clientWidth + 1 && style.textOverflow !== 'ellipsis';
}).map(e => e.tagName + ': ' + e.textContent.trim().slice(0, 60));
"""
SMALL = """
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), small = [];
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !e || e.closest('script, style, math, template, noscript')) continue;
  if (!e.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
  const size = parseFloat(getComputedStyle(e).fontSize);
  if (size < arguments[0]) small.push(size + ' px: ' + e.textContent.trim().slice(0, 60));
}
return small;
"""


@contextmanager
def chromium(profile: Path, reach: str = NOWHERE) -> Iterator[webdriver.Chrome]:
    """A browser with the new profile folder `profile` that reaches what the flag `reach` allows."""
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, reach, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary:
        options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def open_page(driver: Any, path: Path, width: int, height: int = 900) -> None:
    """Open the file `path` in a window whose inside is `width` x `height`."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.get_log("browser")
    driver.get(path.as_uri())
    WebDriverWait(driver, 30).until(lambda d: d.execute_script("return document.readyState") == "complete")


def screenshot(driver: Any, path: Path) -> Path:
    """The whole page as a PNG."""
    import base64

    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(shot["data"]))
    return path


def console_errors(driver: Any) -> list[str]:
    """What the console said that is worse than a remark, since the page was opened."""
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def assert_readable(driver: Any, width: int) -> None:
    """The page is no wider than the window, no text is cut off, and none is smaller than 12 px."""
    assert driver.execute_script("return innerWidth") == width
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script(CLIPPED) == []
    assert driver.execute_script(SMALL, 12) == []


def broken_images(driver: Any) -> list[str]:
    """Images of the page that show nothing."""
    script = "return [...document.images].filter(i => !i.complete || i.naturalWidth === 0).map(i => i.alt)"
    return list(driver.execute_script(script))


def plots(driver: Any) -> list[Any]:
    """The zoomable figures of the page."""
    return list(driver.find_elements(By.CSS_SELECTOR, ".js-plotly-plot"))


def empty_plots(driver: Any) -> list[str]:
    """Titles of zoomable figures in which a line or a heat map is missing or has no extent."""
    script = """
    return [...document.querySelectorAll('.js-plotly-plot')].filter(plot => {
      const drawn = [...plot.querySelectorAll('.scatterlayer .js-line, .heatmaplayer image')];
      return drawn.length !== plot.data.length || drawn.some(d => d.getBoundingClientRect().width < 20);
    }).map(plot => plot.layout.title.text);
    """
    return list(driver.execute_script(script))


def time_range(driver: Any, plot: Any) -> list[float]:
    """The ends of the horizontal axis of `plot`."""
    return [float(x) for x in driver.execute_script("return arguments[0].layout.xaxis.range", plot)]


def drag(driver: Any, plot: Any) -> None:
    """Drag across the middle of the first panel of `plot`, as a reader does to zoom."""
    panel = plot.find_element(By.CSS_SELECTOR, ".nsewdrag")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    size = panel.size
    mouse = ActionChains(driver).move_to_element_with_offset(panel, -size["width"] // 5, 0).click_and_hold()
    mouse.move_by_offset(size["width"] // 5, 1).move_by_offset(size["width"] // 5, 1).release().perform()
