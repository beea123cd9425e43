"""What a statement means in the language of its deck, where ngspice would take the same text for another circuit."""

import re

import numpy as np
import pytest
from test_import import of_kind, simulated, translated

HEADS = {"ltspice": "* t\n", "hspice": "* t\n", "spectre": "simulator lang=spectre\n"}


def values(tmp_path, dialect, text, nodes, end=".tran 1u 1m"):
    """The deck's findings, and voltages of `nodes` at its end."""
    end = "t tran stop=1m" if dialect == "spectre" else end
    found = translated(tmp_path, f"{HEADS[dialect]}{text}\n{end}\n", dialect)
    assert found.whole, found.findings
    wave = simulated(found.text, [f"v({name})" for name in nodes])
    return found, [float(wave[f"v({name})"][-1]) for name in nodes]


def reasons(tmp_path, dialect, text, end=".tran 1u 1m"):
    """Why lines are not translated, by their number; the first line is 1."""
    end = "t tran stop=1m" if dialect == "spectre" else end
    return of_kind(translated(tmp_path, f"{HEADS[dialect]}{text}\n{end}\n", dialect), "not translated")


# waveforms

TRIANGLES = {
    "ltspice": "V1 a 0 PULSE(0 1 0 1m 1m {} 2m)",
    "hspice": "V1 a 0 PULSE 0 1 0 1m 1m {} 2m",
    "spectre": "V1 (a 0) vsource type=pulse val0=0 val1=1 rise=1m fall=1m width={} period=2m",
}


@pytest.mark.parametrize("dialect", TRIANGLES)
def test_a_pulse_of_no_width_comes_down_again(tmp_path, dialect):
    """ngspice takes a width of 0 s for the rest of the analysis."""
    end = "t tran stop=6m maxstep=10u" if dialect == "spectre" else ".tran 10u 6m 0 10u"
    found = translated(tmp_path, f"{HEADS[dialect]}{TRIANGLES[dialect].format(0)}\n{end}\n", dialect)
    wave = simulated(found.text, ["v(a)"])
    np.testing.assert_allclose(wave["v(a)"], np.interp(wave.time_s % 2e-3, [0, 1e-3, 2e-3], [0, 1, 0]), atol=1e-5)
    assert "a width of 0 s" in of_kind(found, "changed")[2]


def test_a_pulse_of_no_width_needs_edges_that_are_numbers(tmp_path):
    text = ".param r=1m\nV1 a 0 PULSE(0 1 0 {r} 1m 0 2m)\nV2 b 0 PULSE(0 1 0 1u 1u {r} 2m)"
    assert list(reasons(tmp_path, "ltspice", text)) == [3]


def test_points_of_a_pwl_at_one_time_follow_one_another(tmp_path):
    """0, 1, 2 and 3 V at 1 us; ngspice refuses times that do not rise."""
    found = translated(tmp_path, "* t\nV1 a 0 PWL(0 0 1u 1 1u 2 1u 3 2u 3)\n.tran 10n 3u\n", "ltspice")
    times = found.text.partition("PWL(")[2].partition(")")[0].split()[::2]
    assert times == ["0", "1u", "1.000001u", "1.000002u", "2u"]
    assert simulated(found.text, ["v(a)"])["v(a)"][-1] == pytest.approx(3)


def test_a_sine_of_spectre_swings_about_dc_where_no_sinedc_is_given(tmp_path):
    text = "V1 (a 0) vsource dc=500m type=sine ampl=100m freq=1k\n"
    text += "V2 (b 0) vsource dc=500m type=sine sinedc=2 ampl=100m freq=1k"
    found, got = values(tmp_path, "spectre", text, ["a", "b"])
    assert got == pytest.approx([0.5, 2.0], abs=1e-4)
    assert of_kind(found, "left out") == {3: "the dc value of a source that has a waveform"}


def test_a_delay_of_spectre_moves_waveforms_of_every_type(tmp_path):
    text = (
        "parameters d=1u\nV1 (a 0) vsource type=pwl delay=1u wave=[0 0 1u 2 3u 0]\n"
        "V2 (b 0) vsource type=pwl delay=d wave=[0 0 1u 2 3u 0]\n"
        "V3 (c 0) vsource type=exp delay=1u val0=0 val1=1 td1=1u tau1=1u td2=4u tau2=2u\n"
    )
    found = translated(tmp_path, f"simulator lang=spectre\n{text}t tran stop=10u maxstep=20n\n", "spectre")
    assert found.whole, found.findings
    wave = simulated(found.text, ["v(a)", "v(b)", "v(c)"])
    t = wave.time_s
    triangle = np.interp(t, [0, 1e-6, 2e-6, 4e-6], [0, 0, 2, 0])
    pulse = 1 - np.exp(-np.maximum(t - 2e-6, 0) / 1e-6) - (1 - np.exp(-np.maximum(t - 5e-6, 0) / 2e-6))
    for name, expected in {"v(a)": triangle, "v(b)": triangle, "v(c)": pulse}.items():
        np.testing.assert_allclose(wave[name], expected, atol=1e-6, err_msg=name)


def test_what_ngspice_would_pass_over_of_spectre_s_elements_is_said(tmp_path):
    """Initial conditions count there at the operating point, and a moving resistance has temperature coefficients."""
    text = "C1 (a 0) capacitor c=1p ic=0.5\nR1 (a 0) resistor r=1k+v(b) tc1=1m\nR2 (b 0) resistor r=1k tc1=1m"
    assert list(reasons(tmp_path, "spectre", text)) == [2, 3]
    text = "simulator lang=spectre\nC1 (a 0) capacitor c=1u ic=0.5\nR1 (a 0) resistor r=1k\nt tran stop=1m skipdc=yes\n"
    found = translated(tmp_path, text, "spectre")
    assert found.whole, found.findings
    assert simulated(found.text, ["v(a)"])["v(a)"][-1] == pytest.approx(0.5 * np.exp(-1), rel=2e-3)


# expressions

POWERS = {
    "ltspice": {
        "x**n": -8, "pow(x,n)": -8, "y**n": 8, "x**(n-1)": 4, "x**-n": -1 / 8, "x**h": 0, "y**h": 2**1.5, "x**1.5": 0,
        "pow(x,1.4)": 0, "y**1.5": 2**1.5, "pwr(x,n)": 8, "pwrs(x,h)": -(2**1.5), "(-2)**n": -8, "2**n": 8,
        "x**-0.5": 0,
    },
    "hspice": {
        "x**n": -8, "y**n": 8, "x**h": -2, "y**h": 2**1.5, "x**2.9": 4, "y**2.9": 2**2.9, "pow(x,n)": -8,
        "pow(x,h)": -2, "pow(y,h)": 2, "pow(x,-n)": -1 / 8, "2**n": 8, "(-2)**h": -2, "pow(x,2.9)": 4,
    },
    "spectre": {"x**n": -8, "pow(x,n)": -8, "y**n": 8, "x**(n+1)": 16, "y**h": 2**1.5, "y**1.5": 2**1.5, "2**n": 8},
}  # fmt: skip


@pytest.mark.parametrize("dialect", POWERS)
@pytest.mark.parametrize("behaviour", [False, True])
def test_powers_of_negative_numbers_are_those_of_the_language(tmp_path, dialect, behaviour):
    """x = -2, y = 2, n = 3, h = 1.5; ngspice takes |x|^y of all of them. Its first v(nx) is 0, which has no 1/x."""
    wanted = {text: value for text, value in POWERS[dialect].items() if not behaviour or not re.search("-n|-0", text)}
    lines = ["parameters x=-2 y=2 n=3 h=1.5" if dialect == "spectre" else ".param x=-2 y=2 n=3 h=1.5"]
    lines += (
        ["Vx (nx 0) vsource dc=x", "Vy (ny 0) vsource dc=y"] if dialect == "spectre" else ["Vx nx 0 -2", "Vy ny 0 2"]
    )
    for k, text in enumerate(wanted):
        said = text.replace("x", "v(nx)").replace("y", "v(ny)") if behaviour else text
        lines.append({
            "spectre": f"B{k} (n{k} 0) bsource v={said}", "ltspice": f"B{k} n{k} 0 V={said}",
            "hspice": f"E{k} n{k} 0 VOL='{said}'",
        }[dialect] if behaviour else {
            "spectre": f"V{k} (n{k} 0) vsource dc={said}", "ltspice": f"V{k} n{k} 0 {{{said}}}",
            "hspice": f"V{k} n{k} 0 '{said}'",
        }[dialect])  # fmt: skip
    _, got = values(tmp_path, dialect, "\n".join(lines), [f"n{k}" for k in range(len(wanted))])
    assert dict(zip(wanted, got, strict=True)) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_in_ltspice_what_exceeds_a_half_is_true(tmp_path):
    """a = 0.4 V and b = 0.6 V; ngspice takes whatever differs from 0."""
    wanted = {
        "V(a)&V(b)": 0, "V(b)&V(b)": 1, "V(a)|V(a)": 0, "V(a)|V(b)": 1, "!V(a)": 1, "!V(b)": 0, "V(a) ? 1 : 2": 2,
        "V(b) ? V(a) : V(b)": 0.4, "!(V(a)>V(b))": 1, "(V(a)<V(b)) & V(b) ? 3 : 4": 3,
    }  # fmt: skip
    lines = ["V1 a 0 0.4", "V2 b 0 0.6", *(f"B{k} n{k} 0 V={text}" for k, text in enumerate(wanted))]
    _, got = values(tmp_path, "ltspice", "\n".join(lines), [f"n{k}" for k in range(len(wanted))])
    assert dict(zip(wanted, got, strict=True)) == pytest.approx(wanted)
    lines = [".param a=0.4 b=0.6", "V1 n1 0 {a&b}", "V2 n2 0 {a ? 1 : 2}", "V3 n3 0 {!a}"]
    assert values(tmp_path, "ltspice", "\n".join(lines), ["n1", "n2", "n3"])[1] == pytest.approx([0, 2, 1])


def test_a_parameter_of_the_deck_is_no_constant_of_ltspice(tmp_path):
    """k, q, e and pi are constants where nothing sets them; a subcircuit's parameters count within it alone."""
    text = (
        ".param q=2\n.step param e list 3 4\nV1 a 0 {q}\nV2 b 0 {e}\nV3 c 0 {k*1e23}\nX1 d s\nX2 f r pi=7\n"
        ".subckt s p k=5\nV1 p 0 {k+q}\n.ends\n.subckt r p\nV1 p 0 {pi}\n.ends\nV4 g 0 {sqrt(pi)}\nB1 h 0 V=q*V(a)"
    )
    _, got = values(tmp_path, "ltspice", text, "abcdfgh")
    assert got == pytest.approx([2, 3, 1.380649, 7, 7, np.sqrt(np.pi), 4], rel=1e-6)
    coupled = "V1 a 0 SIN(0 1 1k)\nL1 a 0 1m Rser=0\nL2 b 0 1m Rser=0\nK1 L1 L2 {k}\n.param k=0.98\nR1 b 0 1Meg"
    assert ".param k=0.98" in translated(tmp_path, f"* t\n{coupled}\n.tran 1m\n", "ltspice").text
    assert "{k}" in translated(tmp_path, f"* t\n{coupled}\n.tran 1m\n", "ltspice").text
    assert list(reasons(tmp_path, "ltspice", ".param temp=50\nR1 a 0 1k")) == [2]


# subcircuits

HALVES = {
    "ltspice": "I1 0 a 1\nX1 a s m=2\n.subckt s p\nR1 p 0 1\n{}\n.ends",
    "hspice": "I1 0 a 1\nX1 a s M=2\n.subckt s p\nR1 p 0 1\n{}\n.ends",
    "spectre": "I1 (0 a) isource dc=1\nsubckt s p\nR1 (p 0) resistor r=1\n{}\nends s\nX1 (a) s m=2",
}
NOT_TAKEN_M_TIMES = {
    "ltspice": ("B1 p 0 I=V(p)", "R2 p 0 R=1+V(p)", "B1 q 0 V=I(R1)", "S1 p 0 p 0 sm", "V1 p q 0\nF1 0 r V1 1",
                "L1 p 0 1u\nL2 q 0 1u\nK1 L1 L2 0.5", "T1 p 0 q 0 z0=50 td=1n", "D1 p 0 dm m=2", "X2 p inner",
                "X2 p fine m=2"),
    "hspice": ("G1 p 0 CUR='v(p)'", "V1 p q 0\nH1 r 0 V1 1", "X2 p inner"),
    "spectre": ("B1 (p 0) bsource i=v(p)", "V1 (p q) vsource dc=0\nF1 (r 0) cccs gain=1 probe=V1"),
}  # fmt: skip
AROUND = {
    "ltspice": ".model sm sw(vt=1)\n.model dm d(is=1f)\n.subckt inner p\nB1 p 0 I=V(p)\n.ends\n"
    ".subckt fine p\nR1 p 0 1k\n.ends\n",
    "hspice": ".subckt inner p\nG1 p 0 CUR='v(p)'\n.ends\n",
    "spectre": "",
}


@pytest.mark.parametrize("dialect", HALVES)
def test_several_of_a_subcircuit_in_parallel_are_said_where_ngspice_makes_other_ones(tmp_path, dialect):
    """Two resistors share the current; what ngspice passes over when it spreads m, or takes twice, is reported."""
    line = 3 if dialect != "spectre" else 6
    for text in NOT_TAKEN_M_TIMES[dialect]:
        deck = HALVES[dialect].format(text) + "\n" + AROUND[dialect]
        at = line + text.count("\n") * (dialect == "spectre") + (dialect == "spectre")
        assert {at: "m=" in reason for at, reason in reasons(tmp_path, dialect, deck).items()} == {at: True}, text
        assert reasons(tmp_path, dialect, deck.replace("m=2", "m=1").replace("M=2", "M=1")) == {}, text
    assert values(tmp_path, dialect, HALVES[dialect].format(""), ["a"])[1] == pytest.approx([0.5])


def test_a_parameter_called_m_is_not_how_many_there_are(tmp_path):
    """Spectre tells M from m; of one that is both, the language's word is not known here."""
    text = (
        "I1 (0 a) isource dc=1\nI2 (0 b) isource dc=1\nsubckt s p\nparameters M=1 r=2\nR1 (p 0) resistor r=r*M\n"
        "ends s\n"
        "X1 (a) s M=4\nX2 (b) s m=4"
    )
    assert values(tmp_path, "spectre", text, "ab")[1] == pytest.approx([8, 0.5])
    assert list(reasons(tmp_path, "spectre", text.replace("M", "m"))) == [8, 9]
    text = ".param m=3\nI1 0 a 1\nX1 a s m=2\n.subckt s p\nR1 p 0 {m}\n.ends"
    assert values(tmp_path, "ltspice", text, "a")[1] == pytest.approx([1.5])


# elements and numbers


def test_several_elements_of_ltspice_in_parallel_have_the_parts_within_each(tmp_path):
    """Currents through Rser, Rpar and Cpar of four; ten inductors have 0.1 mOhm."""
    text = (
        "I1 0 a 1\nC1 a 0 1u Rser=1k Rpar=8 m=4\nI2 0 b 1\nL1 b 0 1u m=10\nI3 0 c 1\nL2 c 0 1u Rser=2 m={n}\n"
        ".param n=4\nC2 d 0 1n Rser=8 Cpar=2n m=4\nR1 d 0 1k"
    )
    found, got = values(tmp_path, "ltspice", text, "abc", ".tran 1m")
    assert got == pytest.approx([2, 1e-4, 0.5], rel=1e-3)
    assert [line for line in found.text.splitlines() if line[:2].lower() in ("r_", "c_", "c2")] == [
        "R_C1_ser a C1_s {(1k / 4)}", "R_C1_par a 0 {(8 / 4)}", "R_L1_ser b L1_s {(1m / 10)}",
        "R_L2_ser c L2_s {(2 / n)}", "C2 C2_s 0 {(1n * 4)}", "R_C2_ser d C2_s {(8 / 4)}", "C_C2_par d 0 {(2n * 4)}",
    ]  # fmt: skip


def test_what_is_no_number_is_said_of_its_line(tmp_path):
    text = "R1 a 0 4.7k3\n.param lv=1\n.model n nmos level={lv}\n.model o nmos level=2\nR2 a 0 1k"
    assert reasons(tmp_path, "ltspice", text) == {
        2: "'4.7k3' is no number",
        4: "MOS models of level {lv}; only (1, 2, 3) are the same everywhere",
    }
