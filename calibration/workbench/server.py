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
from urllib.parse import quote

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
from tornado.web import HTTPError, RequestHandler

from bruno_spice.calibration.workbench import PAGES, TITLES, jobs
from bruno_spice.calibration.workbench.figures import Plot, Shown, plots
from bruno_spice.calibration.workbench.page import Panel, answer
from bruno_spice.calibration.workbench.place import MOST_BYTES, Place
from bruno_spice.calibration.workbench.session import Session
from bruno_spice.calibration.workbench.state import Memory, State
from bruno_spice.devices.errors import BrunoError, InputError

HOST = "127.0.0.1"
MOST_WINDOWS = 40
"""Windows that are remembered; of those that are closed the oldest goes first."""
UNUSED_MS = 5_000
"""How long a document outlives its window."""
REST_S = 0.12
"""A slider that has not moved for so long is let be simulated."""
LINK = "=&,:/%+"
"""Characters of a link that stay as they are where it becomes an address."""
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
                allow_websocket_origin=[f"{HOST}:{port}", f"localhost:{port}"],
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

    def once(self, server: Server, address: str) -> str:
        """Where a browser finds `address` one time: how a browser is started can be read in the list of processes."""
        word, used = secrets.token_urlsafe(24), threading.Event()

        class Once(RequestHandler):
            def get(self) -> None:
                if used.is_set():
                    raise HTTPError(404)
                used.set()
                self.redirect(address)

        server._tornado.add_handlers(".*", [(f"/{word}", Once)])
        return f"http://{HOST}:{server.port}/{word}"

    def close(self) -> None:
        """Remove what lies on the disk for windows."""
        for memory in self._memories.values():
            memory.forget()

    def scripts(self) -> list[str]:
        """What a page loads of BokehJS: figures; with widgets, tables and formulas a browser would read thrice that."""
        return list(Resources(mode="server", root_url=f"/{self.token}/", components=["bokeh"]).js_files)

    def _opener(self, name: str) -> Callable[[Document], None]:
        return lambda document: _View(self, name, document).open()

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
    """A document: the figures of a page and the pipe to its window.

    The session runs in a thread of its own, what it shows and tells is drawn and sent in the server's loop.
    """

    def __init__(self, workbench: Workbench, name: str, document: Document) -> None:
        self._workbench, self._name, self._document = workbench, name, document
        self._window, self._nothing = Window(name="window"), Spacer(height=1)
        self._figures = column(self._nothing, name="figures", sizing_mode="stretch_width")
        self._calls = jobs.Queue()
        self._memory: Memory | None = None
        self._session: Session | None = None
        self._plots: list[Plot] = []
        self._dark = False
        self._rest: threading.Timer | None = None
        self._closed = False

    def open(self) -> None:
        document, workbench = self._document, self._workbench
        document.template = workbench.template()
        document.template_variables.update(
            page=self._name, titles={name: TITLES[name] for name in PAGES}, most_bytes=MOST_BYTES,
            scripts=workbench.scripts(), out=str(workbench.place.out.relative_to(workbench.place.root)),
        )  # fmt: skip
        document.title = f"{TITLES[self._name]} – bruno workbench"
        document.config.notify_connection_status = False
        document.add_root(self._figures)
        document.add_root(self._window)
        self._window.on_change("ask", lambda _name, _old, new: self._hear(new))
        document.on_event(ConnectionLost, lambda _: self._close())

    def _hear(self, text: str) -> None:
        if self._memory is not None:
            self._call(lambda session: session.ask(text))
            return
        hello = json.loads(text)
        self._dark = bool(hello.get("dark"))
        window, self._memory = self._workbench.memory(str(hello["window"])[:40], self._name, self)
        memory = self._memory
        self._calls.put(lambda: self._begin(window, memory, hello))

    def _begin(self, window: str, memory: Memory, hello: Mapping[str, Any]) -> None:
        page = PAGES[self._name]  # which may have to be imported
        session = Session(page, self._workbench.place, memory, self._show, self._tell, self._later, self._at_rest)
        self._tell({"window": window, "intro": page.intro, "takes_files": page.takes_files})
        if hello.get("query") and (hello.get("edited") or memory.history.now == State()):
            session.ask(json.dumps({"do": "link", "query": hello["query"], "seen": hello["seen"]}))
        else:
            session.start(int(hello["seen"]))
        self._session = session

    def _call(self, what: Callable[[Session], None]) -> None:
        """Have the session do `what`, behind what it was told before."""

        def call() -> None:
            if self._session is not None and not self._closed:
                what(self._session)

        self._calls.put(call)

    def _close(self) -> None:
        self._closed = True
        if self._memory is not None:
            self._memory.owner = None
        if self._session is not None:
            self._session.close()
        self._calls.end()

    def _later(self, call: Callable[[], None]) -> None:
        self._call(lambda _: call())

    def _in_loop(self, call: Callable[[], None]) -> None:
        if not self._closed:
            self._document.add_next_tick_callback(call)

    def _tell(self, view: Mapping[str, Any]) -> None:
        text = json.dumps(view)

        def tell() -> None:
            if "dark" in view:
                self._dark, self._plots = bool(view["dark"]), []  # anew: a canvas keeps its old colour along its edges
            self._window.tell = text

        self._in_loop(tell)

    def _at_rest(self, call: Callable[[], None] | None) -> None:
        """Call once nothing has moved for `REST_S`; a new call takes the place of one that waits."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if call is not None:
            self._rest = threading.Timer(REST_S, self._later, [call])
            self._rest.daemon = True
            self._rest.start()

    def _show(self, now: Shown) -> None:
        self._in_loop(lambda: self._draw(now))

    def _draw(self, now: Shown) -> None:
        shown = self._plots
        self._plots = plots(now.wanted({plot.panel for plot in shown}), self._dark, shown)
        for plot in self._plots:
            if plot.panel.region and plot not in shown:
                plot.figure.on_event(SelectionGeometry, self._selected(plot.panel))
        share = now.drawings[0].rms
        for plot in self._plots:
            first = plot is self._plots[0]
            plot.show(now.drawings, f"rms {100 * share:.3g} %" if first and share is not None else "")
            plot.show_region(now.region)
        self._figures.children = [plot.figure for plot in self._plots] or [self._nothing]

    def _selected(self, panel: Panel) -> Callable[[SelectionGeometry], None]:
        def select(event: SelectionGeometry) -> None:
            if event.final and event.geometry.get("type") == "rect":
                first, last = sorted(float(event.geometry[each]) * panel.x_scale for each in ("x0", "x1"))
                self._call(lambda session: session.select(first, last))

        return select


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind((HOST, 0))
        return int(trial.getsockname()[1])


def _answered(page: str, place: Place) -> None:
    """Have ready what the page shows first, while the browser opens it."""
    jobs.preload(PAGES[page].preloaded)
    with suppress(BrunoError):  # the page will say it
        answer(PAGES[page], State(), place, None)


def run(place: Place, port: int, page: str, query: str, opened: Callable[[str, str], None]) -> None:
    """Serve until Ctrl-C.

    `opened` is told the address of `page` in the state `query`, and one that leads there once. Only then the page is
    imported, while the browser starts and reads what every page consists of.
    """
    workbench = Workbench(place)
    server = workbench.serve(port)
    server.start()
    loop, address = server.io_loop, workbench.address(server, page) + (f"?{quote(query, safe=LINK)}" if query else "")
    opened(address, workbench.once(server, address))
    threading.Thread(target=_answered, args=(page, place), daemon=True).start()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: loop.add_callback_from_signal(loop.stop))
    loop.start()
    server.stop()
    workbench.close()
