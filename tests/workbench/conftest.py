"""A workbench that runs, a browser, and a window of one on the other, in which nothing may go wrong."""

import pytest
from browser import THIS_MACHINE, chromium
from window import Window, serving


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The folder in which the workbench is started."""
    return tmp_path_factory.mktemp("start")


@pytest.fixture(scope="module")
def server(start, tmp_path_factory, store):
    with serving(start, tmp_path_factory.mktemp("log") / "log.txt") as running:
        yield running
        assert running.faults() == []


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile"), THIS_MACHINE) as found:
        yield found


@pytest.fixture
def window(driver, server):
    made = Window(driver, server)
    yield made
    assert made.errors() == []
