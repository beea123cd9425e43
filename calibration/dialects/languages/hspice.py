"""Decks of HSPICE.

What it means otherwise than ngspice: devices are at 25 °C unless .temp says another; ``$`` begins a comment; ``x`` is
mega; expressions stand in quotes; log(x) and sqrt(x) are odd; x**y of a negative x takes the integer part of y;
a parameter of the deck wins over one of its name in a subcircuit (parhier=global). Source: HSPICE Reference Manual:
Commands and Control Options; Elements and Device Models.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bruno_spice.calibration.dialects.dialect import Dialect
from bruno_spice.calibration.dialects.files import Code, Files, joined
from bruno_spice.calibration.dialects.formulas import FUNCTIONS, Build, Language, call, op, rounded, signed_power
from bruno_spice.calibration.dialects.languages.spice import Spice
from bruno_spice.calibration.dialects.languages.spice_elements import arguments, parts
from bruno_spice.calibration.dialects.powers import integer_power, power_cut_below_zero
from bruno_spice.calibration.dialects.waveforms import linear
from bruno_spice.calibration.dialects.written import LostError, Written
from bruno_spice.calibration.spice.statements import masked, split_words
from bruno_spice.calibration.verilog_a.expressions import Expression, node, number


def _odd(name: str) -> Build:
    def build(x: Expression) -> Expression:
        return op("*", call("sgn", x), call(name, call("abs", x)))

    return build


RANDOM = "it draws at random; write the nominal value, and the spread into NAME.variation.yaml for bruno vary"
LANGUAGE = Language(
    number=re.compile(
        r"(?P<mantissa>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?P<suffix>meg|mi|[tgxkmunpfa])?[a-z]*", re.IGNORECASE
    ),
    scales={
        "": 1.0, "t": 1e12, "g": 1e9, "meg": 1e6, "x": 1e6, "k": 1e3, "mi": 25.4e-6, "m": 1e-3, "u": 1e-6, "n": 1e-9,
        "p": 1e-12, "f": 1e-15, "a": 1e-18,
    },
    functions={
        **FUNCTIONS, "log": _odd("log"), "log10": _odd("log10"), "sqrt": _odd("sqrt"), "pow": integer_power,
        "pwr": signed_power, "nint": rounded, "sign": lambda x, y: op("*", call("abs", x), call("sgn", y)),
        "db": lambda x: op("*", op("*", number(20.0), call("sgn", x)), call("log10", call("abs", x))),
    },
    constants={"temper": node("name", text="temper")},
    power=power_cut_below_zero,
    refused={
        "^": "^, of which versions of HSPICE differ; write **",
        **dict.fromkeys(("gauss", "agauss", "unif", "aunif", "limit"), RANDOM),
    },
)  # fmt: skip
QUIET = frozenset((
    ".data", ".enddata", ".vec", ".biaschk", ".dout", ".graph", ".prot", ".unprot", ".connect_info", ".lin",
))  # fmt: skip
CELSIUS = "25"
"""Of devices, and at which models are measured, unless the deck says another."""


class HSpice(Spice):
    """A deck of HSPICE."""

    left_out = Spice.left_out | QUIET
    edges_of_step = True

    def __init__(self, w: Written) -> None:
        super().__init__(w)
        self.celsius: set[str] = set()
        self.local = False
        self.longest: str | None = None
        self.deck_parameters: set[str] = set()

    def joined(self, texts: Sequence[str], path: Path, first: int) -> Iterator[Code]:
        """Statements: ``*`` begins a comment line, ``$`` a comment."""
        return joined(texts, path, _bare, first, ("\\\\", "\\"))

    def opens_section(self, code: Code, files: Files) -> bool:
        """``.lib NAME`` begins a section, ``.lib FILE SECTION`` asks for one."""
        return len(code.text.split()) == 2

    def first_pass(self, code: Code) -> None:
        """Which parameters the deck itself sets, and whether they win."""
        super().first_pass(code)
        word = code.word()
        if word in (".param", ".parameter", ".parameters") and not self.inside:
            self.deck_parameters |= set(parts(code.text)[1])
        elif word in (".option", ".options") and re.search(r"parhier ?= ?local", code.text, re.IGNORECASE):
            self.local = True

    def statement(self, code: Code) -> None:
        """``.alter`` begins another deck, which is not this one."""
        if self.altered:
            raise LostError("behind .alter, which simulates the deck again with changes")
        super().statement(code)

    altered = False

    def card_alter(self, code: Code) -> None:
        """What follows is another run."""
        self.altered = True
        raise LostError("a second run of the deck with changes")

    def card_subckt(self, code: Code) -> None:
        """Parameters of the deck win over those of the circuit, unless parhier=local."""
        head, given = parts(code.text)
        self.w.begin(head[1] if len(head) > 1 else "", head[2:], list(self._own(given).items()))

    card_macro = card_subckt

    def _own(self, given: dict[str, str]) -> dict[str, str]:
        if self.local:
            return given
        for name in given.keys() & self.deck_parameters:
            self.w.changed(f"{name} of the deck wins over that of a subcircuit (parhier=global)")
        return {name: text for name, text in given.items() if name not in self.deck_parameters}

    def card_param(self, code: Code) -> None:
        """The same of those that stand in a subcircuit."""
        if len(self.w.open) > 1 and not self.local:
            given = parts(code.text)[1]
            own = self._own(given)
            if len(own) < len(given):
                for name, text in own.items():
                    self.w.param(name, text)
                return
        super().card_param(code)

    card_parameter = card_parameters = card_params = card_param

    def element_x(self, code: Code) -> None:
        """What an instance gives, likewise."""
        head, given = parts(code.text)
        if len(head) < 2:
            raise LostError("an instance without a subcircuit")
        self.w.instance(head[0], head[1:-1], head[-1], list(self._own(given).items()))

    def piecewise(self, text: str, given: dict[str, str]) -> str:
        """``R`` repeats it, ``TD`` delays it."""
        later = {name: self.w.value(given.pop(name)) for name in ("r", "td") if name in given}
        words = arguments(text)
        if words and words[-1].lower() == "r":
            words.pop()
            later["r"] = "0"
        tail = linear(self.w, [self.w.formula(word) for word in words])
        return " ".join([tail, *(f"{name}={value}" for name, value in later.items())])

    def controlled(self, letter: str, quantity: str, code: Code) -> None:
        """Besides: resistances that a voltage controls, and ideal amplifiers."""
        head, given = parts(code.text)
        kind = head[3].lower() if len(head) > 3 else ""
        if kind in (
            "vcr",
            "vccap",
            "pwl",
            "ppwl",
            "npwl",
            "delay",
            "opamp",
            "transformer",
            "laplace",
            "foster",
            "freq",
        ):
            raise LostError(f"a controlled source of the kind {kind}")
        if "pwl(" in masked(code.text).lower().replace(" ", ""):
            raise LostError("a controlled source of the kind pwl")
        for name in ("scale", "abs", "tc1", "tc2", "ic", "smooth", "delta"):
            if name in given:
                raise LostError(f"{name}= of a controlled source")
        super().controlled(letter, quantity, code)

    def card_tran(self, code: Code) -> None:
        """``.tran step stop [step stop ...] [START=t] [UIC] [SWEEP ...]``."""
        text, sweep, _ = _split(code.text, "sweep")
        head, given = parts(text)
        numbers = [word for word in head[1:] if word.lower() not in ("uic",)]
        uic = len(numbers) < len(head) - 1
        self.refuse_others(given, "start", "uic")
        if len(numbers) < 2:
            raise LostError("a .tran without a step and a stop time")
        start = given.get("start")
        if len(numbers) % 2:
            start = numbers.pop()
        if sweep:
            self.w.changed("one run, the parameters as the deck has them; --set NAME=VALUE has the others")
        if len(numbers) > 2:
            self.w.changed("one step for the whole analysis, the first one")
        self.write_tran(numbers[0], numbers[-1], start, self.longest, uic or "uic" in given)

    def option(self, name: str, text: str) -> None:
        """Besides what all have: the longest step, where parameters count, the temperature of models."""
        if name == "delmax":
            self.longest = text
            if self.has_tran:
                raise LostError("delmax behind the .tran; put it before")
        elif name == "parhier":
            self.w.left_out("it says which parameter wins, which has been heeded")
        elif name in ("search", "post", "probe", "runlvl", "accurate", "ingold", "list", "node", "nomod", "brief"):
            self.w.left_out(f"the option {name}, which concerns accuracy, printing or where files lie")
        else:
            if name == "tnom":
                self.celsius.add("tnom")
            super().option(name, text)

    def card_temp(self, code: Code) -> None:
        """Then the temperature is known."""
        super().card_temp(code)
        self.celsius.add("temp")

    def finish(self, found: Sequence[Code]) -> None:
        """HSPICE's 25 °C, where anything depends on it."""
        warm = self.semiconductors or any("temper" in code.text.lower() for code in found)
        missing = [name for name in ("temp", "tnom") if name not in self.celsius]
        if warm and missing:
            self.w.deck.items.append(f".options {' '.join(f'{name}={CELSIUS}' for name in missing)}")
            self.w.say(
                "changed", f"{' and '.join(missing)} are 25 °C unless said, and stand written out", found[-1], ""
            )
        super().finish(found)


def _split(text: str, word: str) -> tuple[str, str, str]:
    words = split_words(text)
    at = next((i for i, each in enumerate(words) if each.lower() == word), len(words))
    return " ".join(words[:at]), " ".join(words[at : at + 1]), " ".join(words[at + 1 :])


def _bare(text: str) -> str:
    bare = text.strip()
    if bare.startswith("*"):
        return ""
    for match in re.finditer(r"\$", masked(text)):
        if match.start() == 0 or text[match.start() - 1] in " \t,":
            return text[: match.start()].strip()
    return bare


def recognises(head: Sequence[str]) -> bool:
    """By cards and spellings that only HSPICE has."""
    text = "\n".join(head).lower()
    marks = (
        r"^\.opt\w* .*\b(post|probe|runlvl|ingold|parhier|accurate)\b", r"^\.alter\b", r"^\.probe\b",
        r"\b(vol|cur) ?= ?'",
        r"^\.param .*= ?'", r"(^|\s)\$ ", r"^\.measure\b", r"^[rcl]\w* \S+ \S+ [rcl]? ?=? ?'",
        r"^\.tran .*\b(sweep|start ?=)",
    )  # fmt: skip
    return any(re.search(mark, text, re.M) for mark in marks)


def translate(path: Path, files: Files) -> Written:
    """The deck at `path`."""
    w = Written(LANGUAGE)
    w.ground = {"0", "gnd", "gnd!", "ground"}
    HSpice(w).read(path, files)
    return w


HSPICE = Dialect("HSPICE", recognises, translate)
