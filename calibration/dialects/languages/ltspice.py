"""Decks that LTspice exports (View > SPICE Netlist) or reads.

What it means otherwise than ngspice: ``4k7`` is 4.7 kOhm and ``5A`` 5; inductors have 1 mOhm in series unless Rser=0;
sources and storing elements carry parts of their own (Rser, Rpar, Cpar); what exceeds 0.5 is true; k, q and e are
constants where the deck sets no such parameter; ``;`` begins a comment; a pulse or a sine may stop after some periods;
``.step`` runs the deck again; a switch is off at 1 MOhm. Source: the help of LTspice 24.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

from bruno_spice.calibration.dialects import waveforms
from bruno_spice.calibration.dialects.dialect import Dialect
from bruno_spice.calibration.dialects.files import Code, Files, joined
from bruno_spice.calibration.dialects.formulas import (
    FUNCTIONS,
    Language,
    call,
    choice,
    op,
    rounded,
    signed_power,
    single,
    size_power,
    table,
)
from bruno_spice.calibration.dialects.languages.spice import Spice
from bruno_spice.calibration.dialects.languages.spice_elements import arguments, parts
from bruno_spice.calibration.dialects.powers import real_power
from bruno_spice.calibration.dialects.written import Element, LostError, Written
from bruno_spice.calibration.spice.statements import split_words
from bruno_spice.calibration.verilog_a.expressions import Expression, node, number

HALF, ONE, NONE = number(0.5), number(1.0), number(0.0)


def _true(x: Expression) -> Expression:
    return x if x.op in (">", "<", ">=", "<=", "==", "!=", "&&", "||", "!") else op(">", x, HALF)


def _limit(x: Expression, a: Expression, b: Expression) -> Expression:
    return call("min", call("max", x, call("min", a, b)), call("max", a, b))


RANDOM = "it draws at random; write the nominal value, and the spread into NAME.variation.yaml for bruno vary"
LANGUAGE = Language(
    number=re.compile(
        r"(?P<mantissa>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?P<suffix>meg|mil|[tgkmunpf])?(?P<after>\d+)?[a-zΩ]*", re.I
    ),
    scales={
        "": 1.0, "t": 1e12, "g": 1e9, "meg": 1e6, "k": 1e3, "mil": 25.4e-6, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12,
        "f": 1e-15,
    },
    functions={
        **FUNCTIONS,
        "arccos": single("acos"), "arcsin": single("asin"), "arctan": single("atan"), "pwr": size_power,
        "pwrs": signed_power, "limit": _limit, "round": rounded, "table": table,
        "if": lambda x, y, z: choice(_true(x), y, z), "buf": lambda x: choice(_true(x), ONE, NONE),
        "inv": lambda x: choice(_true(x), NONE, ONE), "u": lambda x: choice(op(">", x, NONE), ONE, NONE),
        "uramp": lambda x: call("max", x, NONE),
        "sqrt": lambda x: call("sqrt", call("max", x, NONE)), "pow": real_power,
    },
    constants={
        "pi": number(math.pi), "e": number(math.e), "k": number(1.380649e-23), "q": number(1.602176634e-19),
        "true": ONE, "false": NONE, "temp": node("name", text="temper"),
    },
    power=real_power,
    true=_true,
    signs={"&": "&&", "|": "||"},
    refused={
        "^": "^, which is exclusive or in LTspice",
        **dict.fromkeys(("rand", "random", "white", "gauss", "flat", "mc"), RANDOM),
    },
)  # fmt: skip
INDUCTOR_OHM = "1m"
QUIET = frozenset((".backanno", ".four", ".wave", ".savebias", ".loadbias", ".machine", ".text", ".probe"))
MODIFIERS = {
    "startup": "startup, which ramps the sources up", "steady": "steady, which stops at the steady state",
    "step": "step, which steps a source",
}  # fmt: skip


class LTspice(Spice):
    """A deck of LTspice."""

    left_out = Spice.left_out | QUIET
    model_notes = frozenset(("mfg", "iave", "vpk", "type", "vds", "vceo", "icrating", "qg", "ppk", "irms"))
    roff = MappingProxyType({"ron": "1", "roff": "1meg"})

    def __init__(self, w: Written) -> None:
        super().__init__(w)
        self.libraries: list[tuple[Code, str]] = []
        self.without_model = False
        self.uic = False
        self.stepped: set[str] = set()
        self.charged: list[Code] = []

    def joined(self, texts: Sequence[str], path: Path, first: int) -> Iterator[Code]:
        """Statements: ``*`` begins a comment line, ``;`` a comment."""
        return joined(texts, path, _bare, first, ())

    def not_read(self, code: Code, why: str) -> None:
        """LTspice names its own libraries in each deck with a diode or transistor, whether it needs them or not."""
        if code.word() == ".lib":
            self.libraries.append((code, why))
        else:
            self.w.lost(why, code)

    def no_model(self, code: Code, name: str) -> None:
        """It may be one of a library that was not read."""
        self.without_model = True
        super().no_model(code, name)

    def inner_parts(self, kind: str) -> Sequence[str]:
        """In series and beside; of an inductor the resistance in series is there unless it is 0."""
        return ("rser", "rpar", "cpar")

    def element_l(self, code: Code) -> None:
        """An inductor has 1 mOhm unless it says another."""
        if "rser" not in parts(code.text)[1]:
            code = Code(f"{code.text} rser={INDUCTOR_OHM}", code.file, code.line)
            self.w.changed("an inductor has 1 mOhm in series unless Rser=0, which stands written out")
        super().element_l(code)

    def storing(self, letter: str, head: list[str], given: dict[str, str], said: str | None, divide: bool) -> None:
        """What a charge to start from means without ``uic`` is not said by LTspice."""
        if "q" in given or (letter == "L" and "flux" in given):
            raise LostError("a charge or a flux as an expression")
        if "ic" in given:
            self.charged.append(self.w.code)
        super().storing(letter, head, given, said, divide)

    def element_b(self, code: Code) -> None:
        """Behavioural sources, and the parts beside them."""
        head, given = parts(code.text)
        for name in ("tripdv", "tripdt"):
            if given.pop(name, None):
                self.w.left_out(f"{name}, which concerns the time step")
        quantity = next((name for name in ("v", "i", "r") if name in given), "")
        self.refuse_others(given, quantity, *(("rpar", "cpar") if quantity == "i" else ()))
        if len(head) != 3 or not quantity:
            raise LostError("a behavioural source without V= or I=")
        e = self.w.formula(given[quantity])
        if quantity == "r":
            self.w.resistor(head[0], head[1:], e)
            return
        self.w.behaviour(head[0], head[1:], quantity.upper(), e)
        nodes = [self.w.node(each) for each in head[1:]]
        for name in ("rpar", "cpar"):
            if name in given:
                self.w.between(name[0].upper(), f"{name[0]}_{head[0]}", nodes, self.w.value(given[name]))

    def around_source(self, element: Element, given: dict[str, str]) -> None:
        """Rser in series with a voltage, Cpar beside it; R= beside a current would be a load."""
        self.refuse_others(given, *(("rser", "cpar") if element.name[0].lower() == "v" else ()))
        name, outer = element.name, list(element.nodes)
        if "rser" in given and waveforms.known(self.w.formula(given["rser"])) != 0:
            inner = self.w.nodes.new(f"{name}_s")
            self.w.between("R", f"{name}_ser", [outer[0], inner], self.w.value(given["rser"]))
            element.nodes[0] = inner
        if "cpar" in given and waveforms.known(self.w.formula(given["cpar"])) != 0:
            self.w.between("C", f"{name}_par", outer, self.w.value(given["cpar"]))

    def piecewise(self, text: str, given: dict[str, str]) -> str:
        """A time with a + counts from the one before it."""
        words = arguments(text)
        if any(re.match(r"(file|repeat|trigger|time_scale|value_scale)\b", word, re.IGNORECASE) for word in words):
            raise LostError("a PWL of a file, or one that repeats itself")
        values = [self.w.formula(word.removeprefix("+")) for word in words]
        return waveforms.linear(self.w, values, [word.startswith("+") for word in words])

    def element_s(self, code: Code) -> None:
        """Switches that a voltage controls."""
        self._switch("S", code, 5)

    def element_w(self, code: Code) -> None:
        """Switches that a current controls."""
        self._switch("W", code, 4)

    def _switch(self, letter: str, code: Code, count: int) -> None:
        words = split_words(code.text)
        if len(words) not in (count + 1, count + 2) or words[count].lower() not in self.models:
            raise LostError("a switch without a model of its own")
        tail = [
            self.w.models.of(words[count]).lower(),
            *(w.lower() for w in words[count + 1 :] if w.lower() in ("on", "off")),
        ]
        nodes = words[1:count]
        if letter == "W":
            tail.insert(0, self.w.reader.currents(nodes.pop()))
        self.w.element(letter, words[0], nodes, " ".join(tail))

    def model(self, code: Code) -> tuple[str, str, dict[str, str]]:
        """A switch of negative hysteresis goes over smoothly."""
        if re.search(r"\b[vi]h ?= ?-", code.text, re.IGNORECASE) and " sw" in code.text.lower():
            raise LostError("a switch of negative hysteresis, which goes over smoothly")
        return super().model(code)

    def card_tran(self, code: Code) -> None:
        """``.tran stop`` or ``.tran step stop start longest``, and words behind them."""
        words = split_words(code.text)[1:]
        numbers = [word for word in words if not re.fullmatch(r"[a-z]+", word, re.IGNORECASE)]
        said = [word.lower() for word in words if word not in numbers]
        for word in said:
            if word in MODIFIERS:
                raise LostError(MODIFIERS[word])
            if word not in ("uic", "nodiscard"):
                raise LostError(f"{word} of a .tran")
        if not 1 <= len(numbers) <= 4:
            raise LostError("a .tran without a stop time")
        self.uic = "uic" in said
        step, stop, start, longest = (None, numbers[0], None, None) if len(numbers) == 1 else [*numbers, None, None][:4]
        assert stop is not None
        self.write_tran(step, stop, start, longest, self.uic)

    def first_pass(self, code: Code) -> None:
        """Which parameters are stepped, for they are not what a .param says."""
        super().first_pass(code)
        words = [word for word in split_words(code.text.lower()) if word not in ("oct", "dec", "lin", "param")]
        if words[:1] == [".step"] and len(words) > 2:
            self.stepped.add(words[1])
            self.w.theirs.setdefault("", set()).add(words[1])

    def card_param(self, code: Code) -> None:
        """Leave out what a .step sets."""
        given = parts(code.text)[1]
        if "temp" in given and len(self.w.open) == 1:
            raise LostError("a parameter of the name of the temperature; write .temp, or another name")
        if len(self.w.open) > 1 or not self.stepped & given.keys():
            super().card_param(code)
            return
        for name, text in given.items():
            if name in self.stepped:
                self.w.left_out(f"{name}, which .step sets")
            else:
                self.w.param(name, text)

    card_parameter = card_parameters = card_params = card_param

    def card_step(self, code: Code) -> None:
        """The first of its values; the others are a matter of ``--set``."""
        words = split_words(code.text)[1:]
        kinds = [word for word in words if word.lower() in ("oct", "dec", "lin")]
        words = [word for word in words if word not in kinds]
        if words[:1] and words[0].lower() == "param":
            words.pop(0)
        if len(words) < 3 or words[0].lower() in ("temp", "v", "i") or "(" in words[0]:
            raise LostError("a .step of something else than a parameter")
        name, values = words[0], words[2:] if words[1].lower() == "list" else words[1:2]
        self.w.param(name, values[0])
        self.w.changed(f"one run, with {name} at the first of its values; --set {name.lower()}=... has the others")

    def finish(self, found: Sequence[Code]) -> None:
        """Libraries that were not read matter only where a model or a subcircuit is missing."""
        needed = self.without_model or any(name not in self.w.circuits for _, name, _, _ in self.w.instances)
        for code, why in self.libraries:
            if needed:
                self.w.lost(why, code)
            else:
                self.w.left_out("a library of which nothing is used", code)
        for code in self.charged if not self.uic else ():
            self.w.lost("IC= without uic, of which LTspice does not say whether it counts; write .ic", code)
        super().finish(found)


def _bare(text: str) -> str:
    bare = text.strip()
    return "" if bare.startswith(("*", "#")) else bare.partition(";")[0].strip()


def recognises(head: Sequence[str]) -> bool:
    """By what LTspice writes into each deck, or by the path of a schematic in its title."""
    text = "\n".join(head).lower()
    return bool(re.search(r"^\.backanno\b", text, re.M)) or bool(head and re.match(r"\* .*\.asc\s*$", head[0], re.I))


def translate(path: Path, files: Files) -> Written:
    """The deck at `path`."""
    w = Written(LANGUAGE)
    w.ground = {"0", "gnd"}
    LTspice(w).read(path, files)
    return w


LTSPICE = Dialect("LTspice", recognises, translate)
