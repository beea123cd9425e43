"""What LTspice and HSPICE have in common: cards by their first word, elements by their first letter.

A dialect is a class that adds or replaces methods ``card_...`` and says which cards say nothing of the circuit. Models
and functions are read first, since they may stand behind what uses them; then each statement is written or found.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from bruno_spice.calibration.dialects.files import Code, Files
from bruno_spice.calibration.dialects.languages.spice_elements import Elements, parts
from bruno_spice.calibration.dialects.models import MOS_LEVELS, PARAMETERS
from bruno_spice.calibration.dialects.waveforms import known
from bruno_spice.calibration.dialects.written import LostError
from bruno_spice.calibration.spice.statements import assignments
from bruno_spice.calibration.spice.words import LEFT_OUT, OPTIONS

_FUNCTION = re.compile(r"\.\w+ (\w+) ?\(([^()]*)\) ?=? ?(.+)")
_INCLUDE = re.compile(r"(\.\w+) (?:\"([^\"]*)\"|'([^']*)'|(\S+))(?: (\S+))?")
_START = re.compile(r"([vi]) ?\( ?([^(),\s]+) ?\) ?= ?", re.IGNORECASE)
STEPS = 1000
"""Time steps of an analysis that says nothing of them."""


class Spice(Elements):
    """A deck of SPICE's kind; subclasses are languages."""

    left_out: frozenset[str] = frozenset(LEFT_OUT)
    """Cards that say nothing of the circuit."""
    model_notes: frozenset[str] = frozenset()
    """Parameters of models that are notes for people."""
    roff: Mapping[str, str] = MappingProxyType({})
    """What a switch has where its model does not say."""

    def read(self, path: Path, files: Files) -> None:
        """Translate the deck at `path`."""
        w = self.w
        found = list(self.statements(path, files, "", True))
        ends = next((i for i, code in enumerate(found) if code.word() == ".end"), len(found))
        for code in found[:ends]:
            w.attempt(self.first_pass, code)
        for code in found[:ends]:
            w.attempt(self.statement, code)
        for code in found[ends + 1 :]:
            w.left_out("behind .end", code)
        w.finish()
        self.finish(found[:ends])

    # files

    def statements(self, path: Path, files: Files, section: str, titled: bool) -> Iterator[Code]:
        """The statements of the file at `path`, or of a `section` of it, with what they include."""
        texts = files.texts(path, "")
        yield from self.expanded(
            [*self.joined(texts[1:] if titled else texts, path, 2 if titled else 1)], files, section
        )

    def joined(self, texts: Sequence[str], path: Path, first: int) -> Iterator[Code]:
        """Statements of lines. Languages differ in their comments."""
        raise NotImplementedError

    def expanded(self, codes: Sequence[Code], files: Files, section: str) -> Iterator[Code]:
        """`codes` of a `section` (empty: of none) with what they include written out."""
        within = ""
        for code in codes:
            word = code.word()
            if word in (".endl", ".endlib"):
                within = ""
            elif word == ".lib" and self.opens_section(code, files):
                within = code.word(1).strip("\"'")
            elif within != section.lower():
                continue
            elif word in (".include", ".inc", ".incl", ".lib"):
                yield from self.included(code, files)
            else:
                yield code

    def opens_section(self, code: Code, files: Files) -> bool:
        """Whether a ``.lib`` begins a section, which it does where it has one word that is no file."""
        return False

    def included(self, code: Code, files: Files) -> Iterator[Code]:
        """The statements of the file that `code` asks for."""
        match = _INCLUDE.fullmatch(code.text)
        if match is None:
            self.w.lost("write .include FILE, or .lib FILE SECTION", code)
            return
        name, section = match[2] or match[3] or match[4] or "", (match[5] or "").strip("\"'")
        found = files.beside(name, code)
        why = found if isinstance(found, str) else files.inside(found, section, code)
        if why or isinstance(found, str):
            self.not_read(code, why)
            return
        yield from self.statements(found, files, section, False)
        files.open.pop()

    def not_read(self, code: Code, why: str) -> None:
        """An include that is not read."""
        self.w.lost(why, code)

    # statements

    def first_pass(self, code: Code) -> None:
        """Learn of the functions and models that `code` defines, and of names that are set and where."""
        word = code.word()
        self.learn_names(code)
        match = _FUNCTION.fullmatch(code.text.lower())
        if match and word in (".func", ".function", ".param", ".parameter", ".parameters"):
            names = tuple(name.strip() for name in match[2].split(",") if name.strip())
            self.w.reader.functions[match[1]] = (names, match[3])
        elif word == ".model":
            with contextlib.suppress(LostError):  # what is said of it in the second pass
                name, kind, _ = self.model(code)
                self.models[name.lower()] = kind

    inside = ""
    """The subcircuit that the first pass is in."""

    def learn_names(self, code: Code) -> None:
        """Parameters that `code` sets, and the circuit that has them; each language has constants of such names."""
        word = code.word()
        if word in (".ends", ".eom"):
            self.inside = ""
        head, given = parts(code.text)
        if word in (".subckt", ".macro") and len(head) > 1:
            self.inside = self.w.models.of(head[1]).lower()
        if word in (".param", ".parameter", ".parameters", ".params", ".subckt", ".macro"):
            self.w.theirs.setdefault(self.inside, set()).update(given)
        elif word.startswith("x") and len(head) > 1:
            self.w.theirs.setdefault(self.w.models.of(head[-1]).lower(), set()).update(given)

    def statement(self, code: Code) -> None:
        """Write one statement. Raises `LostError`."""
        word = code.word()
        if word.startswith("."):
            act = getattr(self, f"card_{word[1:]}", None)
            if word in self.left_out:
                self.w.left_out(self.why_left_out(word))
            elif act is None:
                raise LostError(f"the card {word[:40]}")
            else:
                act(code)
        elif "a" <= word[:1] <= "z" and hasattr(self, f"element_{word[0]}"):
            getattr(self, f"element_{word[0]}")(code)
        else:
            raise LostError(f"{word[:40]} is none of the elements known here")

    def why_left_out(self, word: str) -> str:
        """What a card does that says nothing of the circuit."""
        analyses = (".op", ".ac", ".dc", ".noise", ".tf", ".disto", ".pz", ".sens", ".sp", ".pss", ".hb", ".net")
        return "another analysis; bruno simulates .tran" if word in analyses else "printing, plotting or measuring"

    def card_param(self, code: Code) -> None:
        """``.param a=1 b={2*a}``."""
        if _FUNCTION.fullmatch(code.text.lower()):
            return
        found = list(assignments(code.text))
        head, _ = parts(code.text)
        if not found or len(head) > 1:
            raise LostError("a .param is written as name=value")
        for name, start, stop in found:
            self.w.param(name, code.text[start:stop])

    card_parameter = card_parameters = card_params = card_param

    def card_func(self, code: Code) -> None:
        """A function, which stands written out wherever it is used."""
        if not _FUNCTION.fullmatch(code.text.lower()):
            raise LostError("a function is written as .func f(x) {expression}")

    def card_subckt(self, code: Code) -> None:
        """The beginning of a subcircuit."""
        head, given = parts(code.text)
        pins = [word for word in head[2:] if word.lower() != "params:"]
        self.w.begin(head[1] if len(head) > 1 else "", pins, list(given.items()))

    def card_ends(self, code: Code) -> None:
        """The end of one."""
        self.w.end()

    card_macro, card_eom = card_subckt, card_ends

    def card_global(self, code: Code) -> None:
        """Nodes that every subcircuit has."""
        names = [name for name in (self.w.node(word) for word in code.text.split()[1:]) if name != "0"]
        if names:
            self.w.card(f".global {' '.join(names)}")

    def card_ic(self, code: Code) -> None:
        """Voltages to start from."""
        self._starts(code, ".ic")

    def card_nodeset(self, code: Code) -> None:
        """A guess at the operating point."""
        self._starts(code, ".nodeset")

    def _starts(self, code: Code, card: str) -> None:
        matches = list(_START.finditer(code.text))
        if not matches or code.text[len(code.word()) : matches[0].start()].strip():
            raise LostError(f"{card} is written as {card} v(node)=value")
        texts = []
        for match, after in zip(matches, [*matches[1:], None], strict=True):
            if match[1].lower() == "i":
                raise LostError("the current of an inductor to start from; give the inductor IC= and .tran uic")
            text = code.text[match.end() : after.start() if after else len(code.text)].strip(" ,")
            texts.append(f"v({self.w.node(match[2])})={self.w.value(text)}")
        self.w.card(f"{card} {' '.join(texts)}")

    def card_temp(self, code: Code) -> None:
        """One temperature in °C."""
        words = code.text.split()
        if len(words) != 2:
            raise LostError("several temperatures; one deck has one")
        self.w.card(f".options temp={self.w.value(words[1])}")

    def card_options(self, code: Code) -> None:
        """Options that ngspice has under the same name."""
        head, given = parts(code.text)
        for name in head[1:]:
            self.option(name.lower(), "")
        for name, text in given.items():
            self.option(name, text)

    card_option = card_opt = card_options

    def option(self, name: str, text: str) -> None:
        """One option; `text` is empty for a flag."""
        if name in ("scale", "scalm", "defl", "defw", "defad", "defas"):
            raise LostError(f"the option {name}, which scales devices")
        if name == "method" and text.lower() in ("gear", "trap", "trapezoidal"):
            self.w.card(f".options method={text.lower()}")
        elif name in OPTIONS and name != "method" and text:
            self.w.card(f".options {name}={self.w.value(text)}")
        else:
            self.w.left_out(f"the option {name[:30]}, which concerns accuracy or printing")

    def write_tran(self, step: str | None, stop: str, start: str | None, longest: str | None, uic: bool) -> None:
        """The analysis, from texts of theirs. Only one can be had."""
        w = self.w
        if self.has_tran:
            w.left_out("a second transient analysis; the first one counts")
            return
        stop_s = known(w.formula(stop))
        step_is = step if step is not None and known(w.formula(step)) != 0 else None
        if stop_s is not None and stop_s <= 0:
            raise LostError("an analysis that ends at 0 s")
        value = f"{{({w.value(stop).strip('{}')})/{STEPS}}}" if stop_s is None else w.value(repr(stop_s / STEPS))
        words = [w.value(step_is) if step_is else value, w.value(stop)]
        if longest is not None and known(w.formula(longest)) == 0:
            longest = None
        if start is not None or longest is not None:
            words.append(w.value(start or "0"))
        if longest is not None:
            words.append(w.value(longest))
        w.card(f".tran {' '.join(words)}{' uic' if uic else ''}")
        self.has_tran = True

    def card_model(self, code: Code) -> None:
        """Models of the kinds that simulators have in common."""
        name, kind, texts = self.model(code)
        listed = " ".join(f"{parameter}={text}" for parameter, text in texts.items())
        self.w.card(f".model {self.w.models.of(name).lower()} {kind}({listed})")

    def model(self, code: Code) -> tuple[str, str, dict[str, str]]:
        """Name, type and parameters of a model. Raises `LostError`."""
        match = re.fullmatch(r"\.\w+ (\S+?)(?: |(?=\())\(? ?(\w+) ?(.*)", code.text)
        if match is None:
            raise LostError("a model is written as .model NAME TYPE (PARAMETERS)")
        name, kind, rest = match[1], match[2].lower(), match[3].strip()
        rest = re.sub(r"^\(|\)$", "", rest)
        if kind not in PARAMETERS:
            raise LostError(f"models of the type {kind}")
        _, given = parts(f"x {rest.replace(',', ' ')}")
        texts = dict(self.roff) if kind in ("sw", "csw") else {}
        for parameter, text in given.items():
            if parameter in self.model_notes:
                self.w.left_out(f"{parameter} of a model, a note for people")
            elif parameter not in PARAMETERS[kind]:
                raise LostError(f"the parameter {parameter} of models of the type {kind}, which ngspice does not have")
            else:
                texts[parameter] = self.w.value(text)
        if kind in ("nmos", "pmos") and known(self.w.formula(given.get("level", "1"))) not in MOS_LEVELS:
            raise LostError(f"MOS models of level {given['level'][:20]}; only {MOS_LEVELS} are the same everywhere")
        return name, kind, texts

    def finish(self, found: Sequence[Code]) -> None:
        """What is to be said at the end."""
        if not self.has_tran and found:
            self.w.say("changed", "no transient analysis: add a .tran card before it is simulated", found[-1], "")
