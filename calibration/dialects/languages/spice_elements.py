"""Elements of SPICE's kind: NAME NODES VALUE NAME=VALUE ..., each written with what it means in its language."""

import re
from collections.abc import Sequence
from itertools import combinations_with_replacement

from bruno_spice.calibration.dialects import waveforms
from bruno_spice.calibration.dialects.files import Code
from bruno_spice.calibration.dialects.formulas import call, moves, op, table
from bruno_spice.calibration.dialects.written import Element, LostError, Written
from bruno_spice.calibration.spice.statements import assignments, masked, split_words
from bruno_spice.calibration.verilog_a.expressions import Expression, node, number

WAVEFORM = re.compile(r"(?:^|(?<=\s))(pulse|sine?|exp|pwl|sffm|am|pl|pat|lfsr|pwlfile|trnoise|wavefile) ?[=(]?", re.I)
AC = re.compile(r"(?:^|(?<=\s))ac\b ?=? ?(?:[-+]?[\d.][^\s,=]*[ ,]*){0,2}", re.IGNORECASE)
MOST_TERMS = 400
"""Of a polynomial."""


def parts(text: str) -> tuple[list[str], dict[str, str]]:
    """Words of `text` up to the first ``name=value``, and the values by lower-case name."""
    found = list(assignments(text))
    given = {name.lower(): text[start:stop] for name, start, stop in found}
    if not found:
        return split_words(text), given
    name, start, _ = found[0]
    return split_words(text[: text.rfind(name, 0, start)].strip()), given


def arguments(text: str) -> list[str]:
    """Arguments between commas or blanks outside braces, quotes and brackets."""
    found, depth, at = [], 0, 0
    cover = masked(text)
    for index, char in enumerate(cover):
        depth += (char == "(") - (char == ")")
        if depth == 0 and char in " ,":
            found.append(text[at:index])
            at = index + 1
    return [word for word in (*found, text[at:]) if word]


def bracketed(text: str) -> tuple[str, str]:
    """What stands in the brackets that `text` begins with, and what follows them; all of it where there are none."""
    if not text.startswith("("):
        return text, ""
    depth = 0
    for index, char in enumerate(masked(text)):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return text[1:index].strip(), text[index + 1 :].strip()
    raise LostError("a bracket that is not closed")


class Elements:
    """The elements of a deck that `w` is written for."""

    edges_of_step = False
    """Whether the edge of a pulse that is not said lasts a time step."""
    semiconductors = False
    """Whether any has been written."""

    def __init__(self, w: Written) -> None:
        self.w = w
        self.models: dict[str, str] = {}
        """Type by name, lower-case."""
        self.has_tran = False

    def refuse_others(self, given: dict[str, str], *taken: str) -> None:
        """Raise `LostError` for what is given and not among `taken`."""
        for name in given:
            if name not in taken:
                raise LostError(f"{name}= of such an element")

    def optional(self, given: dict[str, str], name: str) -> Expression | None:
        """What is given for `name`."""
        return self.w.formula(given[name]) if name in given else None

    # passive

    def element_r(self, code: Code) -> None:
        """Resistors; one whose value moves is a source of its current."""
        head, given = parts(code.text)
        self.refuse_others(given, "r", "tc1", "tc2", "tc", "m", "noiseless", "noise", "ac")
        if len(head) > 4:
            raise LostError("a resistor with more than a value")
        text = head[3] if len(head) == 4 else given.get("r")
        if text is None or len(head) < 3:
            raise LostError("a resistor without two nodes and a value")
        if text.lower() in self.models:
            raise LostError("a resistor of a model")
        coefficients = [(n, given[n]) for n in ("tc1", "tc2") if n in given]
        if "tc" in given:
            coefficients = list(zip(("tc1", "tc2"), arguments(given["tc"]), strict=False))
        tail = "".join(f" {name}={self.w.value(value)}" for name, value in coefficients)
        e = self.w.multiplied(self.w.formula(text), self.optional(given, "m"), divide=True)
        self.semiconductors |= bool(tail)
        self.w.resistor(head[0], head[1:3], e, tail)

    def element_c(self, code: Code) -> None:
        """Capacitors, and the resistors that stand within them."""
        head, given = parts(code.text)
        self.refuse_others(given, "c", "m", "ic", *self.inner_parts("c"))
        self.storing("C", head, given, given.get("c"), divide=False)

    def element_l(self, code: Code) -> None:
        """Inductors, likewise."""
        head, given = parts(code.text)
        self.refuse_others(given, "l", "m", "ic", *self.inner_parts("l"))
        self.storing("L", head, given, given.get("l"), divide=True)

    def inner_parts(self, kind: str) -> Sequence[str]:
        """Parts that an element of this language has within itself, such as ``rser``."""
        return ()

    def storing(self, letter: str, head: list[str], given: dict[str, str], said: str | None, divide: bool) -> None:
        """A capacitor or an inductor: rser in series, rpar and cpar beside both; m of them have m of each."""
        w = self.w
        text = head[3] if len(head) == 4 else said
        if text is None or not 3 <= len(head) <= 4:
            raise LostError(f"a '{letter}' without two nodes and one value")
        if text.lower() in self.models:
            raise LostError("an element of a model")
        times = self.optional(given, "m")
        e = w.multiplied(w.formula(text), times, divide)
        tail = f" ic={w.value(given['ic'])}" if "ic" in given else ""
        element = w.element(letter, head[0], head[1:3], f"{w.value(e)}{tail}")
        outer = list(element.nodes)
        inner = {name: w.formula(given[name]) for name in ("rser", "rpar", "cpar") if name in given}
        asked = {name: w.value(w.multiplied(part, times, name != "cpar")) for name, part in inner.items()}
        if "rser" in asked and waveforms.known(inner["rser"]) != 0:
            between = w.nodes.new(f"{element.name}_s")
            w.between("R", f"{element.name}_ser", [outer[0], between], asked["rser"])
            element.nodes[0] = between
        if "rpar" in asked:
            w.between("R", f"{element.name}_par", outer, asked["rpar"])
        if "cpar" in asked and waveforms.known(inner["cpar"]) != 0:
            w.between("C", f"{element.name}_par", outer, asked["cpar"])

    def element_k(self, code: Code) -> None:
        """Coupled inductors, pair by pair."""
        head, given = parts(code.text)
        if given or len(head) < 4:
            raise LostError("a coupling without two inductors and a number")
        *inductors, coupling = head[1:]
        names = [self.w.names.of(name, "L") for name in inductors]
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                self.w.between("K", head[0], [first, second], self.w.value(coupling))

    # sources

    def element_v(self, code: Code) -> None:
        """Voltage sources."""
        self.source("V", code)

    def element_i(self, code: Code) -> None:
        """Current sources."""
        self.source("I", code)

    def source(self, letter: str, code: Code) -> None:
        """An independent source: its waveform, or its constant value; what .ac asks is left out."""
        w = self.w
        words = split_words(code.text)
        if len(words) < 3:
            raise LostError("a source without two nodes")
        name, a, b = words[:3]
        rest = code.text[len(" ".join(words[:3])) :].strip()
        match = WAVEFORM.search(masked(rest))
        before, shape, after = (rest, "", "") if match is None else (rest[: match.start()], match[1].lower(), "")
        given: dict[str, str] = {}
        inside = ""
        if match is not None:
            behind = rest[match.end() :].strip()
            inside, after = bracketed(f"({behind}" if match[0].endswith("(") else behind)
            if match[0].endswith("="):
                raise LostError(f"the waveform {shape} of a file")
        if not after and inside and not (match and match[0].endswith("(")):
            found = list(assignments(inside))
            cut = AC.search(inside)
            ends = [inside.rfind(found[0][0], 0, found[0][1])] if found else []
            ends += [cut.start()] if cut else []
            if ends:
                inside, after = inside[: min(ends)].strip(), inside[min(ends) :]
        loose = " ".join(text for text in (AC.sub(" ", before), AC.sub(" ", after)) if text.strip())
        head, given = parts(f"x {loose}")
        constant = [word for word in head[1:] if word.lower() != "dc"]
        if "dc" in given:
            constant.append(given.pop("dc"))
        if len(constant) > 1:
            raise LostError(f"'{constant[1][:30]}' of a source")
        tail = self.waveform(shape, inside, given)
        if shape and constant:
            w.left_out("the dc value of a source that has a waveform", code)
        if not shape:
            e = w.formula(constant[0]) if constant else number(0.0)
            if moves(e):
                w.behaviour(name, [a, b], letter, e)
                return
            tail = w.value(e)
        element = w.element(letter, name, [a, b], tail)
        self.around_source(element, given)

    def around_source(self, element: Element, given: dict[str, str]) -> None:
        """Parts that a source has within itself."""
        self.refuse_others(given)

    def waveform(self, shape: str, text: str, given: dict[str, str]) -> str:
        """The waveform `shape` of the arguments in `text`."""
        w = self.w
        if not shape:
            return ""
        if shape == "pwl":
            return self.piecewise(text, given)
        if shape not in ("pulse", "sin", "sine", "exp", "sffm"):
            raise LostError(f"the waveform {shape}")
        values = [w.formula(word) for word in arguments(text)]
        if shape == "pulse":
            return waveforms.pulse(w, values, self.edges_of_step)
        if shape == "sffm":
            return f"SFFM({' '.join(w.value(e) for e in values)})"
        return (waveforms.exponential if shape == "exp" else waveforms.sine)(w, values)

    def piecewise(self, text: str, given: dict[str, str]) -> str:
        """A PWL of plain points."""
        words = arguments(text)
        if any(re.match(r"(file|repeat|trigger)\b", word, re.IGNORECASE) for word in words):
            raise LostError("a PWL of a file, or one that repeats itself")
        return waveforms.linear(self.w, [self.w.formula(word) for word in words])

    # controlled sources

    def element_e(self, code: Code) -> None:
        """Voltages that something controls."""
        self.controlled("E", "V", code)

    def element_g(self, code: Code) -> None:
        """Currents that something controls."""
        self.controlled("G", "I", code)

    def controlled(self, letter: str, quantity: str, code: Code) -> None:
        """A linear one, a polynomial, or an expression."""
        w = self.w
        head, given = parts(code.text)
        for key in ("value", "vol" if quantity == "V" else "cur"):
            if key in given and len(head) == 3:
                text = given.pop(key)
                self.limited(head, quantity, w.formula(text), given)
                return
        rest = code.text[len(" ".join(head[:3])) :].strip()
        if re.match(r"(vcvs|vccs)? ?poly\b", rest, re.IGNORECASE):
            self.polynomial(head[0], head[1:3], quantity, re.sub(r"^(vcvs|vccs) ", "", rest, flags=re.I), "v")
            return
        words = [word for word in head if word.lower() not in ("vcvs", "vccs")]
        if len(words) == 5 and "table" in given:
            pairs = [
                w.formula(word)
                for word in arguments(given.pop("table").strip("()").replace(")", " ").replace("(", " "))
            ]
            e = table(self.across(words[3], words[4]), *pairs)
            self.limited(words, quantity, e, given)
            return
        if len(words) != 6:
            raise LostError("a controlled source that is neither linear nor an expression")
        gain = w.formula(words[5])
        gain = w.multiplied(gain, self.optional(given, "m")) if letter == "G" else gain
        given.pop("m", None)
        if given or moves(gain):
            self.limited(words, quantity, op("*", gain, self.across(words[3], words[4])), given)
        else:
            w.element(letter, words[0], words[1:5], w.value(gain))

    def limited(self, head: Sequence[str], quantity: str, e: Expression, given: dict[str, str]) -> None:
        """A source of `e`, between ``min`` and ``max`` where those are given."""
        self.refuse_others(given, "min", "max", "m")
        e = self.w.multiplied(e, self.optional(given, "m")) if quantity == "I" else e
        for name, other in (("max", "min"), ("min", "max")):
            if (limit := self.optional(given, name)) is not None:
                e = call(other, e, limit)
        self.w.behaviour(head[0], head[1:3], quantity, e)

    def across(self, a: str, b: str) -> Expression:
        """The voltage between two nodes of theirs."""
        ours = (self.w.node(a), self.w.node(b))
        if ours[0] == "0":
            return op("neg", node("v", nodes=(ours[1],))) if ours[1] != "0" else number(0.0)
        return node("v", nodes=ours[:1] if ours[1] == "0" else ours)

    def polynomial(self, name: str, nodes: Sequence[str], quantity: str, text: str, asks: str) -> None:
        """POLY(n) as an expression: p0 + sum p_i x_i + sum p_ij x_i x_j + ..., as SPICE2 counts them."""
        match = re.match(r"poly ?\( ?(\d{1,2}) ?\) ?(.*)", text, re.IGNORECASE)
        if match is None or not (count := int(match[1])):
            raise LostError("a polynomial without its number of inputs")
        words = arguments(match[2].replace("(", " ").replace(")", " ") if "'" not in match[2] else match[2])
        inputs = count * (2 if asks == "v" else 1)
        asked, coefficients = words[:inputs], [self.w.formula(word) for word in words[inputs:]]
        if len(asked) < inputs or not coefficients or len(coefficients) > MOST_TERMS:
            raise LostError("a polynomial without its inputs and coefficients")
        if asks == "v":
            xs = [self.across(a, b) for a, b in zip(asked[::2], asked[1::2], strict=True)]
        else:
            xs = [node("i", nodes=(self.w.reader.currents(each),)) for each in asked]
        if count == 1 and len(coefficients) == 1:
            coefficients = [number(0.0), *coefficients]
        e, degree = coefficients[0], 1
        left = coefficients[1:]
        while left:
            for term in combinations_with_replacement(xs, degree):
                if left:
                    product = left.pop(0)
                    for x in term:
                        product = op("*", product, x)
                    e = op("+", e, product)
            degree += 1
        self.w.behaviour(name, nodes, quantity, e)

    def element_f(self, code: Code) -> None:
        """Currents that a current controls."""
        self.by_current("F", "I", code)

    def element_h(self, code: Code) -> None:
        """Voltages that a current controls."""
        self.by_current("H", "V", code)

    def by_current(self, letter: str, quantity: str, code: Code) -> None:
        """F and H: the gain of the current of a source, or a polynomial."""
        head, given = parts(code.text)
        self.refuse_others(given)
        rest = re.sub(r"^(cccs|ccvs) ", "", code.text[len(" ".join(head[:3])) :].strip(), flags=re.IGNORECASE)
        if re.match(r"poly\b", rest, re.IGNORECASE):
            self.polynomial(head[0], head[1:3], quantity, rest, "i")
            return
        words = [word for word in head if word.lower() not in ("cccs", "ccvs")]
        if len(words) != 5:
            raise LostError("a source controlled by a current without its source and gain")
        control = self.w.reader.currents(words[3])
        self.w.element(letter, words[0], words[1:3], f"{control} {self.w.value(words[4])}")

    # of models

    def element_d(self, code: Code) -> None:
        """Diodes."""
        self.of_model("D", code, 2, ("area", "m", "off", "temp"))

    def element_q(self, code: Code) -> None:
        """Bipolar transistors."""
        self.of_model("Q", code, 3, ("area", "m", "off", "temp"))

    def element_j(self, code: Code) -> None:
        """Junction transistors."""
        self.of_model("J", code, 3, ("area", "m", "off", "temp"))

    def element_m(self, code: Code) -> None:
        """MOS transistors."""
        self.of_model("M", code, 4, ("l", "w", "ad", "as", "pd", "ps", "nrd", "nrs", "m", "off", "temp"))

    def of_model(self, letter: str, code: Code, count: int, taken: Sequence[str]) -> None:
        """A device of a model: nodes, the model's name, parameters that SPICE has."""
        head, given = parts(code.text)
        self.refuse_others(given, *taken)
        at = next((i for i, word in enumerate(head) if i > count and word.lower() in self.models), None)
        if at is None or (at != count + 1 and not (letter == "Q" and at == count + 2)):
            self.no_model(code, head[count + 1] if len(head) > count + 1 else "")
            return
        tail = [self.w.models.of(head[at]).lower(), *(self.w.value(word) for word in head[at + 1 :])]
        tail += [f"{name}={self.w.value(text)}" for name, text in given.items()]
        self.semiconductors = True
        self.w.element(letter, head[0], head[1:at], " ".join(tail))

    def no_model(self, code: Code, name: str) -> None:
        """A device whose model there is not."""
        raise LostError(f"there is no model {name[:40]}, or none that is translated")

    def element_t(self, code: Code) -> None:
        """Lossless lines."""
        head, given = parts(code.text)
        self.refuse_others(given, "z0", "td")
        if len(head) != 5 or set(given) != {"z0", "td"}:
            raise LostError("a line that is not given by z0 and td")
        tail = " ".join(f"{name}={self.w.value(text)}" for name, text in given.items())
        self.w.element("T", head[0], head[1:], tail)

    def element_x(self, code: Code) -> None:
        """Instances of subcircuits."""
        head, given = parts(code.text)
        head = [word for word in head if word.lower() != "params:"]
        if len(head) < 2:
            raise LostError("an instance without a subcircuit")
        self.w.instance(head[0], head[1:-1], head[-1], list(given.items()))
