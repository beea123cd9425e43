"""The workbench as a server on this machine alone.

It binds 127.0.0.1. Every address begins with a random word, so that a page elsewhere can guess none, and the socket
behind a page takes that origin only. Each window is a document of its own, with a `Session` and a `Memory` that is
found again after a reload by the window's name in its address.
"""

import json
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2
from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.core.properties import String
from bokeh.document import Document
from bokeh.events import ConnectionLost, SelectionGeometry
from bokeh.layouts import column
from bokeh.model import DataModel
from bokeh.models import Spacer
from bokeh.resources import Resources
from bokeh.server.server import Server

from bruno_spice.calibration.workbench import PAGES, TITLES, jobs
from bruno_spice.calibration.workbench.figures import Plot, plots
from bruno_spice.calibration.workbench.page import Memory, Page, Panel, answer
from bruno_spice.calibration.workbench.place import MOST_BYTES, Place
from bruno_spice.calibration.workbench.session import Session
from bruno_spice.calibration.workbench.state import State
from bruno_spice.devices.errors import BrunoError, InputError

HOST = "127.0.0.1"
MOST_WINDOWS = 40
"""Windows that are remembered; of those that are closed the oldest goes first."""
UNUSED_MS = 5_000
"""How long a document outlives its window."""
REST_MS = 120
"""A slider that has not moved for so long is let be simulated."""
TEMPLATES = Path(__file__).parent / "templates"


class Window(DataModel):
    """What a window and its document say to each other: requests as JSON one way, views the other."""

    ask = String(default="")
    tell = String(default="")


class Workbench:
    """The pages at `place`, each under its own address below the word `token`."""

    def __init__(self, place: Place) -> None:
        self.place, self.token = place, secrets.token_urlsafe(24)
        self._memories: dict[tuple[str, str], Memory] = {}
        self._template: jinja2.Template | None = None

    def serve(self, port: int) -> Server:
        """A server on `port` (0: a free one), not started. Raises `InputError` where the port is taken."""
        port = port or _free_port()
        applications = {f"/{name}": Application(FunctionHandler(self._opener(name))) for name in PAGES}
        try:
            return Server(
                applications,
                address=HOST,
                port=port,
                prefix=self.token,
                allow_websocket_origin=[f"{HOST}:{port}"],
                use_index=False,
                websocket_max_message_size=2 * MOST_BYTES,
                check_unused_sessions_milliseconds=1_000,
                unused_session_lifetime_milliseconds=UNUSED_MS,
            )
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}); name another one with --port") from None

    def address(self, server: Server, page: str) -> str:
        """Where a browser finds `page`."""
        return f"http://{HOST}:{server.port}/{self.token}/{page}"

    def close(self) -> None:
        """Remove what lies on the disk for windows."""
        for memory in self._memories.values():
            memory.forget()

    def scripts(self) -> list[str]:
        """What a page loads of BokehJS: figures; with widgets, tables and formulas a browser would read thrice that."""
        return list(Resources(mode="server", root_url=f"/{self.token}/", components=["bokeh"]).js_files)

    def _opener(self, name: str) -> Callable[[Document], None]:
        return lambda document: _View(self, PAGES[name], document).open()

    def memory(self, window: str, page: str, owner: object) -> tuple[str, Memory]:
        """What is remembered of `window` on `page`, and its name: a new one where the window shows a copy of another.

        A window that was duplicated has its original's address; as long as that one lives, the copy starts from its
        state.
        """
        key = (window, page)
        found = self._memories.pop(key, None)
        if found is not None and found.owner is not None:
            self._memories[key] = found
            window, found = secrets.token_hex(6), Memory(history=found.history)
        memory = self._memories[window, page] = found or Memory()
        memory.owner = owner
        closed = [each for each, kept in self._memories.items() if kept.owner is None]
        for each in closed[: max(0, len(self._memories) - MOST_WINDOWS)]:
            self._memories.pop(each).forget()
        return window, memory

    def template(self) -> jinja2.Template:
        """The page around the figures."""
        if self._template is None:
            environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True)
            self._template = environment.get_template("workbench.html.j2")
        return self._template


class _View:
    """A document: the figures of a page and the pipe to its window."""

    def __init__(self, workbench: Workbench, page: Page, document: Document) -> None:
        self._workbench, self._page, self._document = workbench, page, document
        self._window, self._nothing = Window(name="window"), Spacer(height=1)
        self._figures = column(self._nothing, name="figures", sizing_mode="stretch_width")
        self._session: Session | None = None
        self._plots: list[Plot] = []
        self._dark = False
        self._rest: Any = None

    def open(self) -> None:
        document, workbench = self._document, self._workbench
        document.template = workbench.template()
        document.template_variables.update(
            page=self._page, titles={name: TITLES[name] for name in PAGES}, most_bytes=MOST_BYTES,
            scripts=workbench.scripts(), root=str(workbench.place.root),
            out=str(workbench.place.out.relative_to(workbench.place.root)),
        )  # fmt: skip
        document.title = f"{self._page.title} – bruno workbench"
        document.config.notify_connection_status = False
        document.add_root(self._figures)
        document.add_root(self._window)
        self._window.on_change("ask", lambda _name, _old, new: self._hear(new))
        document.on_event(ConnectionLost, lambda _: self._close())

    def _hear(self, text: str) -> None:
        if self._session is not None:
            self._session.ask(text)
            return
        hello = json.loads(text)
        self._dark = bool(hello.get("dark"))
        window, memory = self._workbench.memory(str(hello["window"])[:40], self._page.name, self)
        self._session = Session(
            self._page, self._workbench.place, memory, self._show, self._tell, self._later, self._at_rest
        )
        self._tell({"window": window})
        if memory.history.now == State() and hello.get("query"):
            self._session.ask(json.dumps({"do": "link", "query": hello["query"], "seen": hello["seen"]}))
        else:
            self._session.start(int(hello["seen"]))

    def _close(self) -> None:
        if self._session is not None:
            self._session.memory.owner = None
            self._session.close()

    def _tell(self, view: Mapping[str, Any]) -> None:
        if "dark" in view and self._session is not None:
            self._dark, self._plots = bool(view["dark"]), []
            self._show(self._session)  # anew: a canvas keeps its old colour along its edges
        self._window.tell = json.dumps(view)

    def _later(self, call: Callable[[], None]) -> None:
        self._document.add_next_tick_callback(call)

    def _at_rest(self, call: Callable[[], None] | None) -> None:
        """Call once nothing has moved for `REST_MS`; a new call takes the place of one that waits."""
        if self._rest is not None:
            self._document.remove_timeout_callback(self._rest)
            self._rest = None
        if call is not None:

            def now() -> None:
                self._rest = None
                call()

            self._rest = self._document.add_timeout_callback(now, REST_MS)

    def _show(self, session: Session) -> None:
        drawings, shown = session.drawings, self._plots
        self._plots = plots(session.wanted({plot.panel.name for plot in shown}), self._dark, shown)
        for plot in self._plots:
            if plot.panel.region and plot not in shown:
                plot.figure.on_event(SelectionGeometry, self._selected(plot.panel))
        share = session.model.rms
        for plot in self._plots:
            first = plot is self._plots[0]
            plot.show(drawings, f"rms {100 * share:.3g} %" if first and share is not None else "")
            plot.show_region(session.state.region)
        self._figures.children = [plot.figure for plot in self._plots] or [self._nothing]

    def _selected(self, panel: Panel) -> Callable[[SelectionGeometry], None]:
        def select(event: SelectionGeometry) -> None:
            if event.final and self._session is not None and event.geometry.get("type") == "rect":
                first, last = (float(event.geometry[each]) * panel.x_scale for each in ("x0", "x1"))
                self._session.select(min(first, last), max(first, last))

        return select


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind((HOST, 0))
        return int(trial.getsockname()[1])


def _answered(page: str, place: Place) -> None:
    """Have ready what the page shows first, while the browser opens it."""
    with suppress(BrunoError):  # the page will say it
        answer(PAGES[page], State(), place, None)


def run(place: Place, port: int, page: str, opened: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `opened` is told the address of `page` as soon as it answers."""
    address_of, workbench = PAGES[page].name, Workbench(place)
    server = workbench.serve(port)
    server.start()
    jobs.preload(PAGES[page].preloaded)
    address = workbench.address(server, address_of)
    threading.Thread(target=_answered, args=(page, place), daemon=True).start()
    loop = server.io_loop
    loop.add_callback(lambda: opened(address))
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: loop.add_callback_from_signal(loop.stop))
    loop.start()
    server.stop()
    workbench.close()
