"""One window on one page: what the user does comes in as small requests, what the page shows goes out as one view.

The state is a value (`state.State`); a request makes the next one, and everything shown follows from it. The model is
asked at once. The simulator and the fit are jobs (`jobs.Job`); a job whose state is no longer the shown one is ended.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from bruno_spice.calibration.workbench.jobs import Job, Message
from bruno_spice.calibration.workbench.page import (
    Choice,
    Drawing,
    Fitted,
    Knob,
    Memory,
    Page,
    Panel,
    Role,
    Table,
    answer,
    checked,
    load_kernels,
    spice_key,
    value_of,
)
from bruno_spice.calibration.workbench.place import Place
from bruno_spice.calibration.workbench.state import MOST_LINK, State, region_of
from bruno_spice.devices.errors import BrunoError, InputError
from bruno_spice.devices.units import parse_spice_number

log = logging.getLogger(__name__)
NEAR = 1.0 + 1e-9
"""A better state than the best so far is better by more than rounding."""


class Session:
    """A page in a window.

    `show` draws, `tell` sends a view to the window, `later` calls back in the server's loop, from any thread, and
    `at_rest` once nothing has moved for a moment (`None`: not any more).
    """

    def __init__(
        self,
        page: Page,
        place: Place,
        memory: Memory,
        show: Callable[["Session"], None],
        tell: Callable[[Mapping[str, Any]], None],
        later: Callable[[Callable[[], None]], None],
        at_rest: Callable[[Callable[[], None] | None], None],
    ) -> None:
        self.page, self.place, self.memory = page, place, memory
        self._show, self._tell, self._later, self._at_rest = show, tell, later, at_rest
        self.model = Drawing()
        self.simulated = Drawing()
        self._simulated_key: object = None
        self.waiting = False
        """Whether the simulator's answer to what is shown is to come."""
        self.drawn = False
        """Whether the window has its first figure: what else is made would keep it waiting."""
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

    @property
    def drawings(self) -> list[Drawing]:
        """What is drawn: the model's lines and the simulator's last, until the next take their place."""
        return [self.model, self.simulated]

    def wanted(self, shown: Container[str]) -> list[Panel]:
        """The panels that hold a line, or are `shown` and will again; for a window without figures the first alone."""
        there = {panel for drawing in self.drawings for panel, _ in drawing.lines}
        found = [panel for panel in self.panels if panel.name in there or (self.waiting and panel.name in shown)]
        return found if self.drawn else found[:1]

    def start(self, seen: int) -> None:
        """Show the state as it is, in answer to request number `seen`."""
        self._seen = seen
        if self.memory.fitting is not None:
            self._fit(self.memory.fitting)
        self._refresh()

    def ask(self, text: str) -> None:
        """Do what a request of the window says; what goes wrong is said in the page, in one sentence."""
        self.notice = ""
        try:
            request = json.loads(text)
            self._seen = int(request.get("seen", 0))
            handler = getattr(self, f"_do_{request.get('do')}", None)
            if handler is None:
                raise InputError("the window asked for something that the workbench does not know")
            handler(request)
        except BrunoError as error:
            self.notice = str(error)
        except OSError as error:
            self.notice = f"{error.filename or 'the system says'}: {error.strerror or error}"
        except (KeyError, TypeError, ValueError):
            log.exception("a request that cannot be read")
            self.notice = "the window asked for something that the workbench cannot read"
        self._refresh()

    def close(self) -> None:
        """End its jobs: the window is gone."""
        self._at_rest(None)
        for job in self._jobs.values():
            job.cancel()
        self._jobs.clear()

    def _do_drawn(self, _: Mapping[str, Any]) -> None:
        self.drawn = True
        load_kernels(self.page, self.place)

    def _do_set(self, request: Mapping[str, Any]) -> None:
        knob = self._knob(str(request["name"]))
        if "position" in request:
            value = knob.at(float(request["position"]))
        else:
            value = parse_spice_number(str(request["text"]).replace("µ", "u").removesuffix(knob.unit).strip())
        self._to(self.state.with_value(knob.name, value), bool(request.get("settled", True)))

    def _do_choose(self, request: Mapping[str, Any]) -> None:
        name, value = str(request["name"]), str(request["value"])
        if name == "file":
            self._use(value)
        else:
            self._to(self._of_this_page(self.state.with_choice(name, value)))

    def _of_this_page(self, state: State) -> State:
        """`state` without values of parameters that what is chosen does not have."""
        names = {knob.name for knob in self.page.knobs(state, self.place)}
        values = {name: value for name, value in state.values.items() if name in names}
        return replace(state, values=values, free=tuple(name for name in state.free if name in names))

    def _do_free(self, request: Mapping[str, Any]) -> None:
        names = [knob.name for knob in self._knobs if knob.free]
        asked = {*self.state.free} ^ {str(request["name"])}
        self._to(replace(self.state, free=tuple(name for name in names if name in asked)))

    def _do_region(self, request: Mapping[str, Any]) -> None:
        text = str(request.get("text", "")).strip()
        self._to(replace(self.state, region=region_of(text) if text else None))

    def select(self, first: float, last: float) -> None:
        """The region that was drawn in a figure, SI units."""
        self.notice = ""
        if first < last:
            self._to(replace(self.state, region=(float(f"{first:.6g}"), float(f"{last:.6g}"))))
        self._refresh()

    def _do_undo(self, _: Mapping[str, Any]) -> None:
        self.memory.history = self.memory.history.back()

    def _do_redo(self, _: Mapping[str, Any]) -> None:
        self.memory.history = self.memory.history.forth()

    def _do_reset(self, request: Mapping[str, Any]) -> None:
        name = request.get("name")
        values = {n: v for n, v in self.state.values.items() if name is not None and n != name}
        self._to(replace(self.state, values=values))

    def _do_best(self, _: Mapping[str, Any]) -> None:
        if self.memory.best is None:
            raise InputError("there is no best so far: nothing was compared yet")
        self._to(self.memory.best[1])

    def _do_link(self, request: Mapping[str, Any]) -> None:
        query = str(request["query"])[: MOST_LINK + 1]
        names, known = {"file", "record", "view"}, State()
        while more := {choice.name for choice in self.page.choices(known, self.place)} - names:
            names |= more  # what is chosen brings what else is to choose
            known = State(choices={name: text for name, text in parse_qsl(query) if name in names})
        state = State.of_link(query, dict.fromkeys(names))
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
            self._to(self.page.file_chosen(self.state, name))
        else:
            choices = {key: value for key, value in self.state.choices.items() if key not in ("file", "view", "record")}
            self._to(replace(self.state, choices=choices, region=None))
        self.memory.best = None

    def _do_fit(self, _: Mapping[str, Any]) -> None:
        self._fit(self.state)

    def _fit(self, state: State) -> None:
        self._stop("fit")
        if self.memory.folder is None:
            self.memory.folder = Path(tempfile.mkdtemp(prefix="bruno-workbench-"))
        folder = Path(tempfile.mkdtemp(dir=self.memory.folder))
        self.progress["fit"], self.memory.fitting = "the fit begins", state
        self._jobs["fit"] = Job(self._deliver("fit"), self.page.fit, state, self.place, folder)

    def _do_stop(self, _: Mapping[str, Any]) -> None:
        self.memory.fitting = None
        if "spice" in self._jobs:
            self._unanswered()
            self.notice = "stopped; SPICE runs again as soon as something of it is moved"
        for name in list(self._jobs):
            self._stop(name)

    def _do_save(self, _: Mapping[str, Any]) -> None:
        fitted = self._fit_that_stands()
        self.memory.saved = self.page.save(self.state, self.place, fitted)

    def _do_dark(self, request: Mapping[str, Any]) -> None:
        self._tell({"dark": bool(request["dark"])})

    def _fit_that_stands(self) -> Fitted | None:
        """The last fit, where the values shown are what it found."""
        if self.memory.fitted is None:
            return None
        state, fitted = self.memory.fitted
        return fitted if state.values == self.state.values and state.choices == self.state.choices else None

    def _knob(self, name: str) -> Any:
        found = next((knob for knob in self._knobs if knob.name == name), None)
        if found is None:
            raise InputError(f"there is no parameter '{name[:60]}' on this page")
        return found

    def _to(self, state: State, settled: bool = True) -> None:
        """The next state. Raises `InputError` for one that the page cannot show."""
        checked(state, self.page.choices(state, self.place), self.page.knobs(state, self.place))
        self.page.panels(state, self.place)
        if state.choices != self.state.choices or state.region != self.state.region:
            self.memory.best = None
        if state != self.state:
            self.memory.saved = None
        self.memory.history = self.memory.history.to(state, settled)

    def _refresh(self) -> None:
        """Ask the model, start the simulator where its answer is of another state, and show."""
        self.problem = ""
        key = spice_key(self.page, self.state, self.place)
        if self._shown != self.state.choices:  # what was simulated is of something else
            self._shown, self.simulated, self._simulated_key = self.state.choices, Drawing(), None
        try:
            self._choices = list(self.page.choices(self.state, self.place))
            self._knobs = list(self.page.knobs(self.state, self.place))
            self.panels = list(self.page.panels(self.state, self.place))
            self._simulate(key)
            spice = self.simulated if key == self._simulated_key else None
            self.model = answer(self.page, self.state, self.place, spice)
            self._tables = list(self.page.tables(self.state, self.place))
            rms, best = self.model.rms, self.memory.best
            if rms is not None and (best is None or rms * NEAR < best[0]):
                self.memory.best = (rms, self.state)
        except BrunoError as error:
            self.problem = str(error)
            self.model = Drawing()
        except OSError as error:
            self.problem, self.model = f"{error.filename or 'the system says'}: {error.strerror or error}", Drawing()
        self._show(self)
        self._tell(self.view())

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
        self._start_simulation(spice_key(self.page, self.state, self.place))
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
        del self._jobs[name]
        self.progress.pop(name, None)
        if kind == "done" and name == "spice":
            self.simulated, self._simulated_key = content or Drawing(), self._asked["spice"]
            self.place = replace(self.place, found=self.simulated.simulator)
        elif kind == "done" and self.memory.fitting is not None:
            self._fitted(self.memory.fitting, content)
        elif name == "spice":
            self._unanswered()
        if name == "fit":
            self.memory.fitting = None
        if kind == "error":
            self.notice = str(content)
        elif kind == "failed":
            log.error("a job failed\n%s", content)
            self.notice = f"the {name} failed: {str(content).strip().splitlines()[-1]}"
        elif kind == "ended":
            self.notice = f"the {name} was ended from outside; try again"
        self._refresh()

    def _fitted(self, asked: State, fitted: Fitted) -> None:
        state = replace(asked, values={**asked.values, **fitted.values})
        self.memory.history = self.memory.history.to(state)
        self.memory.fitted, self.memory.said = (state, fitted), fitted.said

    def view(self) -> dict[str, Any]:
        """All that the window shows beside the figures."""
        history, state = self.memory.history, self.state
        knobs = self._knobs
        values = value_of(knobs, state)
        roles: tuple[Role, ...] = ("model", "spice", "measured")
        rows: dict[str, dict[Role, str]] = {}
        answered = self._simulated_key == spice_key(self.page, state, self.place)
        for drawing in (self.model, self.simulated if answered else Drawing()):
            for label, texts in drawing.numbers.items():
                rows.setdefault(label, {}).update(texts)
        return {
            "seen": self._seen,
            "knobs": [
                {"name": k.name, "unit": "" if k.unit == "1" else k.unit, "meaning": k.meaning, "group": k.group,
                 "value": f"{values[k.name]:.5g}", "position": k.position(values[k.name]), "free": k.free,
                 "ticked": k.name in state.free, "moved": k.name in state.values and state.values[k.name] != k.start,
                 "low": f"{k.low:g}", "high": f"{k.high:g}", "log": k.log}
                for k in knobs
            ],
            "choices": [
                {"name": c.name, "label": c.label, "options": list(c.options), "hint": c.hint,
                 "value": state.choices.get(c.name, c.default)}
                for c in self._choices
            ],
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
                "command": self.memory.saved.command, "then": self.memory.saved.then,
            },
            "tables": [{"title": t.title, "head": t.head, "rows": t.rows} for t in self._tables],
            "without": list(self.page.without),
            "link": state.link(),
        }  # fmt: skip
