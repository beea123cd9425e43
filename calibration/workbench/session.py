"""One window on one page: what the user does comes in as small requests, what the page shows goes out as one view.

The state is a value (`state.State`); a request makes the next one, and everything shown follows from it. The model is
asked at once. The simulator and the fit are jobs (`jobs.Job`); a simulation whose state is no longer the shown one is
ended, a fit goes on without its window. Whatever goes wrong is one sentence in the view, which always comes.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bruno_spice.calibration.workbench.figures import Shown
from bruno_spice.calibration.workbench.jobs import Job, Message, sentence
from bruno_spice.calibration.workbench.page import (
    Choice,
    Drawing,
    Fitted,
    Knob,
    Page,
    Panel,
    Role,
    Table,
    answer,
    checked,
    linked,
    load_kernels,
    of_page,
    spice_key,
)
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import History, Memory, State, region_of, typed
from bruno_spice.devices.errors import InputError

log = logging.getLogger(__name__)
NEAR = 1.0 + 1e-9
"""A better state than the best so far is better by more than rounding."""


class Session:
    """A page in a window.

    `show` draws, `tell` sends a view to the window, `later` calls back where the session is called, from any thread,
    and `at_rest` once nothing has moved for a moment (`None`: not any more).
    """

    def __init__(
        self,
        page: Page,
        place: Place,
        memory: Memory,
        show: Callable[[Shown], None],
        tell: Callable[[Mapping[str, Any]], None],
        later: Callable[[Callable[[], None]], None],
        at_rest: Callable[[Callable[[], None] | None], None],
    ) -> None:
        self.page, self.place, self.memory = page, place, memory
        self._show, self._tell, self._later, self._at_rest = show, tell, later, at_rest
        self.model = Drawing()
        self.simulated = Drawing()
        self._simulated_key: object = None
        self._key: object = None
        """What the simulator's answer to the shown state depends on."""
        self.waiting = False
        self.drawn = False
        self._shown: Mapping[str, str] = {}
        self._jobs: dict[str, Job] = {}
        self._asked: dict[str, Any] = {}
        self.progress: dict[str, str] = {}
        self.problem = ""
        self.notice = ""
        self._seen = 0
        self._tables: list[Table] = []
        self._choices: list[Choice] = []
        self._knobs: list[Knob] = []
        self.panels: list[Panel] = []

    @property
    def state(self) -> State:
        """What is shown."""
        return self.memory.history.now

    def start(self, seen: int) -> None:
        """Show the state as it is, in answer to request number `seen`; a fit that goes on is heard from here on."""
        self._seen = seen
        if self.memory.job is not None:
            self.progress["fit"], self._jobs["fit"] = "the fit goes on", self.memory.job
            self.memory.job.tell(self._deliver("fit"))
        self._refresh()

    def ask(self, text: str) -> None:
        """Do what a request of the window says."""
        self.notice = ""
        self._guarded(lambda: self._do(text))

    def select(self, first: float, last: float) -> None:
        """The region that was drawn in a figure, SI units."""
        if first < last:
            self.notice = ""
            region = float(f"{first:.6g}"), float(f"{last:.6g}")
            self._guarded(lambda: self._to(replace(self.state, region=region)))

    def close(self) -> None:
        """Leave its jobs: the window is gone. A simulation ends; a fit is there for the window that comes back."""
        self._at_rest(None)
        for name, job in list(self._jobs.items()):
            if name == "fit":
                job.tell(None)
            else:
                job.cancel()
        self._jobs.clear()

    def _guarded(self, call: Callable[[], None]) -> None:
        """Do `call` and show what follows; what goes wrong is said in the page, in one sentence."""
        try:
            call()
        except Exception as error:
            self.notice = sentence(error)
        self._refresh()

    def _do(self, text: str) -> None:
        try:
            request = json.loads(text)
            self._seen = int(request.get("seen", 0))
            handler = getattr(self, f"_do_{request.get('do')}")
        except (AttributeError, TypeError, ValueError):
            raise InputError("the window asked for something that the workbench does not know") from None
        handler(request)

    def _do_drawn(self, _: Mapping[str, Any]) -> None:
        self.drawn = True
        load_kernels(self.page, self.place)

    def _do_set(self, request: Mapping[str, Any]) -> None:
        knob = self._knob(str(request["name"]))
        at = request.get("position")
        value = typed(str(request["text"]), knob.unit) if at is None else knob.at(float(at))
        self._to(self.state.with_value(knob.name, value), bool(request.get("settled", True)))

    def _do_choose(self, request: Mapping[str, Any]) -> None:
        name, value = str(request["name"]), str(request["value"])
        if name == "file":
            self._use(value)
        else:
            self._to(of_page(self.page, self.state.with_choice(name, value), self.place))

    def _do_free(self, request: Mapping[str, Any]) -> None:
        names = [knob.name for knob in self._knobs if knob.free]
        asked = {*self.state.free} ^ {str(request["name"])}
        self._to(replace(self.state, free=tuple(name for name in names if name in asked)))

    def _do_region(self, request: Mapping[str, Any]) -> None:
        text = str(request.get("text", "")).strip()
        self._to(replace(self.state, region=region_of(text) if text else None))

    def _do_undo(self, _: Mapping[str, Any]) -> None:
        self._go(self.memory.history.back())

    def _do_redo(self, _: Mapping[str, Any]) -> None:
        self._go(self.memory.history.forth())

    def _do_reset(self, request: Mapping[str, Any]) -> None:
        name = request.get("name")
        values = {n: v for n, v in self.state.values.items() if name is not None and n != name}
        self._to(replace(self.state, values=values))

    def _do_best(self, _: Mapping[str, Any]) -> None:
        if self.memory.best is None:
            raise InputError("there is no best so far: nothing was compared yet")
        self._to(self.memory.best[1])

    def _do_link(self, request: Mapping[str, Any]) -> None:
        state = linked(self.page, self.place, str(request["query"]))
        if state != State():
            self._to(state)

    def _do_upload(self, request: Mapping[str, Any]) -> None:
        import base64
        import binascii

        if not self.page.takes_files:
            raise InputError(f"the page {self.page.title} takes no files")
        try:
            content = base64.b64decode(str(request["content"]), validate=True)
        except binascii.Error:
            raise InputError("the file did not arrive whole; choose it again") from None
        self._use(self.place.upload(str(request["name"]), content))

    def _use(self, name: str) -> None:
        if name:
            self.place.path(name)
            state = self.page.file_chosen(self.state, name)
        else:
            choices = {key: value for key, value in self.state.choices.items() if key not in ("file", "view", "record")}
            state = replace(self.state, choices=choices, region=None)
        self._to(of_page(self.page, state, self.place))
        self.memory.best = None  # a file of the same name may be another

    def _do_fit(self, _: Mapping[str, Any]) -> None:
        state = self.state
        self._stop("fit")
        folder = Path(tempfile.mkdtemp(dir=self.memory.fits()))
        self.progress["fit"], self.memory.fitting = "the fit begins", state
        self._jobs["fit"] = self.memory.job = Job(self._deliver("fit"), self.page.fit, state, self.place, folder)

    def _do_stop(self, _: Mapping[str, Any]) -> None:
        if "spice" in self._jobs:
            self._unanswered()
            self.notice = "stopped; SPICE runs again as soon as something of it is moved"
        for name in list(self._jobs):
            self._stop(name)

    def _do_save(self, _: Mapping[str, Any]) -> None:
        folder = self.place.out / self.page.name
        before = {path: path.read_bytes() for path in folder.glob("*") if path.is_file()}
        saved = self.page.save(self.state, self.place, self._fit_that_stands())
        replaced = tuple(path for path in saved.paths if path in before and path.read_bytes() != before[path])
        self.memory.saved = replace(saved, replaced=replaced)

    def _do_dark(self, request: Mapping[str, Any]) -> None:
        self._tell({"dark": bool(request["dark"])})

    def _fit_that_stands(self) -> Fitted | None:
        """The last fit, where the values shown are what it found."""
        if self.memory.fitted is None:
            return None
        state, fitted = self.memory.fitted
        return fitted if state.values == self.state.values and state.choices == self.state.choices else None

    def _knob(self, name: str) -> Knob:
        found = next((knob for knob in self._knobs if knob.name == name), None)
        if found is None:
            raise InputError(f"there is no parameter '{name[:60]}' on this page")
        return found

    def _to(self, state: State, settled: bool = True) -> None:
        """The next state. Raises `InputError` for one that the page cannot show."""
        checked(state, self.page.choices(state, self.place), self.page.knobs(state, self.place))
        self.page.panels(state, self.place)
        self._go(self.memory.history.to(state, settled))

    def _go(self, history: History) -> None:
        """`history` from here on. What was best of another comparison, and saved of another state, is not any more."""
        now, then = self.state, history.now
        if self._compared(now) != self._compared(then):
            self.memory.best = None
        if now != then:
            self.memory.saved = None
        self.memory.history = history

    def _compared(self, state: State) -> object:
        return state.choices, state.region, self.page.compared(state)

    def _refresh(self) -> None:
        """Ask the model, start the simulator where its answer is of another state, and show."""
        self.problem = ""
        try:
            self._answer()
        except Exception as error:
            self.problem, self.model = sentence(error), Drawing()
        drawings = self.model, self.simulated
        self._show(Shown(tuple(self.panels), drawings, self.state.region, self.waiting, self.drawn))
        self._tell(self.view())

    def _answer(self) -> None:
        state, place = self.state, self.place
        self._key = object()  # of what cannot be asked, nothing was answered
        key = spice_key(self.page, state, place)
        if self._shown != state.choices and key != self._simulated_key:  # what was simulated is of something else
            self.simulated, self._simulated_key = Drawing(), None
        self._shown = state.choices
        self._choices = list(self.page.choices(state, place))
        self._knobs = list(self.page.knobs(state, place))
        self.panels = list(self.page.panels(state, place))
        self._key = key
        self._simulate(self._key)
        self.model = answer(self.page, state, place, self.simulated if self._key == self._simulated_key else None)
        self._tables = list(self.page.tables(state, place))
        rms, best = self.model.rms, self.memory.best
        if rms is not None and (best is None or rms * NEAR < best[0]):
            self.memory.best = (rms, state)

    def _simulate(self, key: object) -> None:
        """The simulator's answer to the shown state, unless it is there or under way; while a slider moves, later."""
        self._at_rest(None)
        self.waiting = key != self._simulated_key and type(self.page).spice is not Page.spice
        if "spice" in self._jobs:
            if self._asked["spice"] == key:
                return
            self._stop("spice")
        if not (self.waiting and self.drawn):
            return
        if self.memory.history.moving:
            self._at_rest(self._simulate_now)
        else:
            self._start_simulation(key)

    def _simulate_now(self) -> None:
        if "spice" not in self._jobs:
            self._start_simulation(self._key)
            self._tell({"progress": self.progress})

    def _start_simulation(self, key: object) -> None:
        self._asked["spice"], self.progress["spice"] = key, "SPICE begins"
        self._jobs["spice"] = Job(self._deliver("spice"), self.page.spice, self.state, self.place)

    def _unanswered(self) -> None:
        """There is no answer to what the simulator was asked, and it is not asked the same again."""
        self.simulated, self._simulated_key = Drawing(), self._asked["spice"]

    def _stop(self, name: str) -> None:
        if (job := self._jobs.pop(name, None)) is not None:
            job.cancel()
        self.progress.pop(name, None)
        if name == "fit":
            self.memory.fitting = self.memory.job = None

    def _deliver(self, name: str) -> Callable[[Job, Message], None]:
        return lambda job, message: self._later(lambda: self._hear(name, job, message))

    def _hear(self, name: str, job: Job, message: Message) -> None:
        if self._jobs.get(name) is not job:
            return
        kind, content = message
        if kind == "progress":
            self.progress[name] = str(content)
            self._tell({"progress": self.progress})
            return
        self._guarded(lambda: self._ended(name, kind, content))

    def _ended(self, name: str, kind: str, content: Any) -> None:
        """The job of that name came to its end."""
        del self._jobs[name]
        fitting = self.memory.fitting
        self._stop(name)
        if kind == "done" and name == "spice":
            self.simulated, self._simulated_key = content or Drawing(), self._asked["spice"]
            self.place = replace(self.place, found=self.simulated.simulator)
        elif kind == "done" and fitting is not None:
            self._fitted(fitting, content)
        elif name == "spice":
            self._unanswered()
        if kind == "error":
            self.notice = str(content)
        elif kind == "failed":
            log.error("a job failed\n%s", content)
            self.notice = f"the {name} failed: {str(content).strip().splitlines()[-1]}"
        elif kind == "ended":
            self.notice = f"the {name} was ended from outside; try again"

    def _fitted(self, asked: State, fitted: Fitted) -> None:
        found = replace(asked, values={**asked.values, **fitted.values}, choices={**asked.choices, **fitted.choices})
        state = of_page(self.page, found, self.place)
        self._go(self.memory.history.to(state))
        self.memory.fitted, self.memory.said = (state, fitted), fitted.said

    def view(self) -> dict[str, Any]:
        """All that the window shows beside the figures."""
        history, state = self.memory.history, self.state
        roles: tuple[Role, ...] = ("model", "spice", "measured")
        rows: dict[str, dict[Role, str]] = {}
        answered = self._simulated_key == self._key
        for drawing in (self.model, self.simulated if answered else Drawing()):
            for label, texts in drawing.numbers.items():
                rows.setdefault(label, {}).update(texts)
        return {
            "seen": self._seen,
            "knobs": [knob.view(state) for knob in self._knobs],
            "choices": [choice.view(state) for choice in self._choices],
            "numbers": [[label, *(texts.get(role, "") for role in roles)] for label, texts in rows.items()],
            "region": "" if state.region is None else ":".join(f"{each:.6g}" for each in state.region),
            "regions": next((panel.region for panel in self.panels if panel.region), ""),
            "undo": bool(history.past), "redo": bool(history.undone),
            "best": "" if self.memory.best is None else f"{100 * self.memory.best[0]:.3g} %",
            "at_best": self.memory.best is not None and self.memory.best[1].values == state.values,
            "progress": dict(self.progress),
            "problem": self.problem or self.notice,
            "said": list(self.memory.said if self._fit_that_stands() else (*self.model.said, *self.simulated.said)),
            "saved": None if self.memory.saved is None else {
                "paths": [str(path.relative_to(self.place.root)) for path in self.memory.saved.paths],
                "replaced": [path.name for path in self.memory.saved.replaced],
                "command": self.memory.saved.command, "then": self.memory.saved.then,
            },
            "tables": [{"title": t.title, "head": t.head, "rows": t.rows} for t in self._tables],
            "without": list(self.page.without),
            "link": state.link(),
        }  # fmt: skip
