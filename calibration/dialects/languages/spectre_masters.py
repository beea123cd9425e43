"""Masters of Spectre: its own elements, models and subcircuits, each as an element of ngspice.

A sine swings about ``dc`` where no ``sinedc`` is given, and ``delay`` moves a waveform of any type. An initial
condition counts at the operating point there, and in ngspice only where that is skipped. Source: Spectre Circuit
Simulator Components and Device Models Reference, vsource and capacitor.
"""

from collections.abc import Mapping, Sequence

from bruno_spice.calibration.dialects import waveforms
from bruno_spice.calibration.dialects.files import Code
from bruno_spice.calibration.dialects.formulas import moves, op
from bruno_spice.calibration.dialects.languages.spice_elements import arguments, parts
from bruno_spice.calibration.dialects.models import PARAMETERS
from bruno_spice.calibration.dialects.written import LostError, Written
from bruno_spice.calibration.verilog_a.expressions import Expression, number

QUIET = frozenset(("mag", "phase", "isnoisy", "m", "noisefile", "trise", "pacmag", "pacphase", "xfmag"))
"""Parameters of sources that say nothing to a transient analysis."""
MODELS = {"diode": ("D", 2), "bjt": ("Q", 3), "jfet": ("J", 3), "mos1": ("M", 4), "mos2": ("M", 4), "mos3": ("M", 4)}
"""Letter and nodes of what a model of Spectre's type is."""
DEVICE = ("area", "m", "w", "l", "ad", "as", "pd", "ps", "nrd", "nrs")
PULSE = ("val0", "val1", "delay", "rise", "fall", "width", "period")
SINE = ("sinedc", "ampl", "freq", "delay", "damp", "sinephase")
EXP = ("val0", "val1", "td1", "tau1", "td2", "tau2", "delay")
PWL = ("wave", "delay")


class Masters:
    """The elements of a netlist that `w` is written for."""

    def __init__(self, w: Written) -> None:
        self.w = w
        self.models: dict[str, str] = {}
        """Type by name."""
        self.subcircuits: set[str] = set()
        self.charged: list[Code] = []
        """Statements of elements that have an initial condition."""

    def element(self, name: str, nodes: Sequence[str], master: str, given: dict[str, str]) -> None:
        """One element. Raises `LostError`."""
        if master in self.subcircuits:
            self.w.instance(name, nodes, master, list(given.items()))
        elif master in self.models:
            self._of_model(name, nodes, master, given)
        elif act := getattr(self, f"of_{master}", None):
            act(name, nodes, given)
        else:
            raise LostError(f"there is no master {master[:40]}")

    def _two(self, nodes: Sequence[str], given: Mapping[str, str], *taken: str) -> None:
        if len(nodes) != 2:
            raise LostError(f"an element between {len(nodes)} nodes, where it has two")
        self._refuse(given, *taken)

    def _refuse(self, given: Mapping[str, str], *taken: str) -> None:
        for name in given:
            if name not in taken:
                raise LostError(f"{name}= of such an element")

    def _asked(self, given: Mapping[str, str], name: str) -> Expression | None:
        return self.w.formula(given[name]) if name in given else None

    def _needed(self, given: Mapping[str, str], name: str) -> Expression:
        if name not in given:
            raise LostError(f"an element without its {name}=")
        return self.w.formula(given[name])

    def of_resistor(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """r in Ohm."""
        self._two(nodes, given, "r", "m", "tc1", "tc2", "isnoisy")
        e = self.w.multiplied(self._needed(given, "r"), self._asked(given, "m"), divide=True)
        tail = "".join(f" {each}={self.w.value(given[each])}" for each in ("tc1", "tc2") if each in given)
        self.w.resistor(name, nodes, e, tail)

    def of_capacitor(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """c in F, ic in V."""
        self._two(nodes, given, "c", "m", "ic")
        self._storing("C", name, nodes, self._needed(given, "c"), given, divide=False)

    def of_inductor(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """l in H, ic in A."""
        self._two(nodes, given, "l", "m", "ic")
        self._storing("L", name, nodes, self._needed(given, "l"), given, divide=True)

    def _storing(
        self, letter: str, name: str, nodes: Sequence[str], e: Expression, given: Mapping[str, str], divide: bool
    ) -> None:
        if moves(e):
            raise LostError("a capacitance or inductance that moves")
        if "ic" in given:
            self.charged.append(self.w.code)
        tail = f" ic={self.w.value(given['ic'])}" if "ic" in given else ""
        value = self.w.value(self.w.multiplied(e, self._asked(given, "m"), divide))
        self.w.element(letter, name, nodes, f"{value}{tail}")

    def of_mutual_inductor(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """coupling of ind1 and ind2."""
        self._refuse(given, "coupling", "ind1", "ind2")
        both = [self.w.names.of(given.get(each, "").strip('"'), "L") for each in ("ind1", "ind2")]
        self.w.between("K", name, both, self.w.value(self._needed(given, "coupling")))

    def of_iprobe(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """A source of 0 V through which a current is asked for."""
        self._two(nodes, given)
        self.w.element("V", name, nodes, "0")

    def of_vsource(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """A voltage."""
        self._source("V", name, nodes, given)

    def of_isource(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """A current from the first node through the source to the second."""
        self._source("I", name, nodes, given)

    def _source(self, letter: str, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        w, kind = self.w, given.pop("type", "dc").strip('"')
        shapes = {"dc": (), "pulse": PULSE, "sine": SINE, "exp": EXP, "pwl": PWL}
        if kind not in shapes:
            raise LostError(f"a source of the type {kind[:20]}")
        own = shapes[kind]
        others = {each for names in shapes.values() for each in names if each not in own}
        if quiet := sorted(each for each in given if each in QUIET - {"m"} or each in others):
            w.left_out(f"of a source, without effect in a transient analysis: {' '.join(quiet)}")
        self._two(nodes, {n: t for n, t in given.items() if n not in quiet}, "dc", "m", *own)
        if kind != "dc" and "dc" in given and (kind != "sine" or "sinedc" in given):
            w.left_out("the dc value of a source that has a waveform")
        if kind == "dc":
            e = self._asked(given, "dc") or number(0.0)
            if "m" in given and letter == "I":
                e = w.multiplied(e, self._asked(given, "m"))
            w.element(letter, name, nodes, w.value(e))
            return
        if "m" in given:
            raise LostError("m= of a source with a waveform")
        w.element(letter, name, nodes, self._shape(kind, given))

    def _shape(self, kind: str, given: Mapping[str, str]) -> str:
        w, delay = self.w, self._asked(given, "delay")
        if kind == "pwl":
            points = [w.formula(word) for word in arguments(given.get("wave", "").strip("[] "))]
            return waveforms.linear(w, [_later(e, delay) if k % 2 == 0 else e for k, e in enumerate(points)])
        if kind == "pulse":
            values = [self._asked(given, each) for each in PULSE]
            return waveforms.pulse(w, [values[0] or number(0.0), values[1] or number(1.0), *values[2:]])
        if kind == "exp":
            asked = {each: self._asked(given, each) for each in EXP[:-1]}
            moved = {each: e and _later(e, delay) for each, e in asked.items() if each.startswith("td")}
            return waveforms.exponential(w, list((asked | moved).values()))
        offset, ampl, *later = (self._asked(given, each) for each in SINE)
        offset = offset or self._asked(given, "dc")
        return waveforms.sine(w, [offset or number(0.0), ampl or number(1.0), *later])

    def of_vcvs(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """gain."""
        self._linear("E", name, nodes, given, "gain")

    def of_vccs(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """gm in S."""
        self._linear("G", name, nodes, given, "gm")

    def _linear(self, letter: str, name: str, nodes: Sequence[str], given: Mapping[str, str], gain: str) -> None:
        self._refuse(given, gain, "m")
        if len(nodes) != 4:
            raise LostError("a controlled source without four nodes")
        times = self._asked(given, "m") if letter == "G" else None
        self.w.element(letter, name, nodes, self.w.value(self.w.multiplied(self._needed(given, gain), times)))

    def of_cccs(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """gain of the current of probe."""
        self._by_current("F", name, nodes, given, "gain")

    def of_ccvs(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """rm in Ohm."""
        self._by_current("H", name, nodes, given, "rm")

    def _by_current(self, letter: str, name: str, nodes: Sequence[str], given: dict[str, str], gain: str) -> None:
        self._two(nodes, given, gain, "probe")
        control = self.w.reader.currents(given.get("probe", "").strip('"'))
        self.w.element(letter, name, nodes, f"{control} {self.w.value(self._needed(given, gain))}")

    def of_bsource(self, name: str, nodes: Sequence[str], given: dict[str, str]) -> None:
        """An expression of voltages and currents."""
        self._two(nodes, given, "v", "i", "r", "m")
        quantity = next((each for each in ("v", "i", "r") if each in given), "")
        if not quantity or sum(each in given for each in ("v", "i", "r")) > 1:
            raise LostError("a bsource without one of v=, i= and r=")
        e = self.w.formula(given[quantity])
        if quantity == "r":
            self.w.resistor(name, nodes, self.w.multiplied(e, self._asked(given, "m"), divide=True))
            return
        times = self._asked(given, "m") if quantity == "i" else None
        self.w.behaviour(name, nodes, quantity.upper(), op("*", e, times) if times is not None else e)

    def _of_model(self, name: str, nodes: Sequence[str], master: str, given: Mapping[str, str]) -> None:
        letter, count = MODELS[self.models[master]]
        if len(nodes) != count and not (letter == "Q" and len(nodes) == 4):
            raise LostError(f"a device of {len(nodes)} nodes, where it has {count}")
        self._refuse(given, *DEVICE)
        tail = [self.w.models.of(master).lower(), *(f"{n}={self.w.value(text)}" for n, text in given.items())]
        self.w.element(letter, name, nodes, " ".join(tail))

    def card_model(self, code: Code) -> None:
        """A model of the kinds that simulators have in common."""
        name, _, text = self.model(code)
        self.w.card(f".model {self.w.models.of(name).lower()} {text}")

    def model(self, code: Code) -> tuple[str, str, str]:
        """Name, Spectre's type, and ngspice's type with parameters. Raises `LostError`."""
        head, given = parts(code.text)
        if len(head) != 3 or head[2] not in MODELS:
            raise LostError(f"a model of the type {head[2][:30] if len(head) > 2 else ''}")
        kinds = {"diode": ("d", "d"), "bjt": ("npn", "pnp"), "jfet": ("njf", "pjf")}.get(head[2], ("nmos", "pmos"))
        polarity = given.pop("type", "n").strip('"').lower()
        kind = kinds[polarity.startswith("p")]
        texts = {"level": head[2][-1]} if kind in ("nmos", "pmos") else {}
        for parameter, text in given.items():
            if parameter not in PARAMETERS[kind]:
                raise LostError(f"the parameter {parameter} of models of the type {kind}, which ngspice does not have")
            texts[parameter] = self.w.value(text)
        listed = " ".join(f"{parameter}={text}" for parameter, text in texts.items())
        return head[1], head[2], f"{kind}({listed})"


def _later(e: Expression, delay: Expression | None) -> Expression:
    """The time `e` by `delay` later, as a number where both are numbers."""
    if delay is None:
        return e
    moved = op("+", e, delay)
    at_s = waveforms.known(moved)
    return moved if at_s is None else number(float(f"{at_s:.12g}"))
