"""Netlists as other hands write them are read as ngspice reads them."""

import pytest
from netlist_cases import by_hand, workshop

from bruno_spice.calibration.circuits.deck import neuron_deck
from bruno_spice.calibration.circuits.experiments import NeuronRun, neuron_job, neuron_jobs
from bruno_spice.calibration.errors import NetlistError
from bruno_spice.calibration.neuron.calibrate import known_parameters
from bruno_spice.calibration.spice.netlist import Netlist, transient_job
from bruno_spice.calibration.spice.ngspice import Worker
from bruno_spice.calibration.spice.words import FUNCTIONS
from bruno_spice.calibration.targets.inspection import check, taken
from bruno_spice.devices.stimulus import Stimulus

RUN = NeuronRun(Stimulus.dc(3e-9), 10e-3)
DIALECTS = (
    "dialect.cir", "area_expression.cir", "micro_sign_latin1.cir", "source_continued.cir", "tran_with_start.cir",
    "param_function.cir", "param_in_body.cir", "hostile_u_incl.cir", "hostile_t_incl.cir",
)  # fmt: skip
OWN = (
    "crossbar.cir", "fecap_pv.cir", "heracles_pv.cir", "neuron.cir", "neuron_cmos.cir", "neuron_heracles.cir",
    "rram.cir", "rram_1t1r.cir", "rram_source.cir",
)  # fmt: skip


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    return workshop(tmp_path_factory.mktemp("netlists"))


@pytest.fixture
def plain(decks):
    """The deck that the dialects of neuron.cir say the same as."""
    path = decks / "plain.cir"
    path.write_text((decks / "tran_with_start.cir").read_text().replace("122m 2m 20u", "122m 0 20u"))
    return path


@pytest.mark.parametrize("name", [*DIALECTS, *OWN])
def test_every_parameter_is_the_number_that_ngspice_has_by_hand(decks, name):
    params = Netlist.load(decks / name).params
    values = {n: p.value for n, p in params.items() if n not in FUNCTIONS}
    assert values == pytest.approx(by_hand(decks / name, list(values)), rel=1e-12)


@pytest.mark.parametrize("name", DIALECTS)
def test_check_takes_what_ngspice_takes(decks, name):
    assert check(decks / name).params


@pytest.mark.parametrize("name", ["micro_sign_latin1.cir", "source_continued.cir", "tran_with_start.cir"])
def test_another_way_to_write_a_deck_gives_the_same_job(decks, plain, name):
    (job,), (same,) = (neuron_jobs([RUN], path) for path in (decks / name, plain))
    assert job.deck == same.deck
    assert job.key("39") == same.key("39")


def test_an_area_written_as_an_expression_enters_the_card_as_its_number(decks):
    known = known_parameters(neuron_deck(decks / "area_expression.cir"))
    assert (known["area"].value, known["area"].source) == (pytest.approx(16e-12, rel=1e-12), "netlist")


@pytest.mark.parametrize(
    ("text", "value"),
    [("(100p)", 100e-12), ("'25p'", 25e-12), ("{5u*5u}", 25e-12), ("5u*5u", 25e-12), ("25pm", 25e-12)],
)
def test_a_number_written_oddly_is_never_assumed(decks, plain, text, value):
    plain.write_text(plain.read_text().replace("area=25p", f"area={text}"))
    area = known_parameters(neuron_deck(plain))["area"]
    assert (area.value, area.source) == (pytest.approx(value, rel=1e-12), "netlist")


def test_a_number_that_counts_in_another_unit_is_refused_with_its_place(plain):
    plain.write_text(plain.read_text().replace("; [m^2] FeCAP", "; [um^2] FeCAP"))
    with pytest.raises(NetlistError, match=r"plain.cir:15: .param area counts in um\^2 .* states it in m\^2"):
        known_parameters(neuron_deck(plain))


def test_a_macro_is_the_circuit_that_it_says(decks):
    library = decks.parent / "own" / "macro.lib"
    assert taken(neuron_deck(library)).circuits == {"xneuron": "my_neuron (macro.lib:3)"}
    assert ".subckt my_neuron inj vm spk pl pn vdd\n" in neuron_job(neuron_deck(library), RUN).deck
    check(library)


def test_two_circuits_that_fit_are_refused_with_their_names(decks):
    library = decks.parent / "own" / "two.lib"
    text = (decks.parent / "own" / "macro.lib").read_text()
    library.write_text(text + text.partition("\n")[2].partition("\n")[2].replace("my_neuron", "other"))
    with pytest.raises(NetlistError, match=r"two.lib:7: .*my_neuron and other; write a file"):
        neuron_deck(library)
    chosen = library.with_name("chosen.lib")
    pins = "inj vm spk pl pn vdd"
    chosen.write_text(
        f"* the way out that the message names\n.include two.lib\n.subckt mine {pins}\nX1 {pins} other\n.ends\n"
    )
    assert taken(neuron_deck(chosen)).circuits == {"xneuron": "mine (chosen.lib:3)"}


def test_a_circuit_of_a_name_that_an_include_has_is_refused(decks):
    library = decks.parent / "own" / "again.lib"
    library.write_text((decks.parent / "own" / "macro.lib").read_text().replace("my_neuron", "fecap"))
    with pytest.raises(NetlistError, match=r"again.lib:3: .subckt fecap is another one than at .*fecap.lib:\d+"):
        neuron_deck(library)


@pytest.mark.parametrize("folder", ["my netlists", "Übungen", "a;b", "a $ b", "a//b", "it's"])
def test_a_circuit_may_lie_in_any_folder(decks, folder):
    library = decks.parent / folder / "mine.lib"
    library.parent.mkdir(parents=True)
    text = (decks.parent / "own" / "macro.lib").read_text()
    library.write_text(text.replace("../circuits", str(decks.parent / "circuits")))
    job = neuron_jobs([RUN], library)[0]
    assert job.deck == neuron_jobs([RUN], decks.parent / "own" / "macro.lib")[0].deck


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig", "latin-1"])
def test_a_deck_of_another_encoding_is_the_same_deck_and_is_said(decks, encoding):
    text = (
        "\ufeff" * (encoding == "utf-16-be")
        + "* Größe\r\n.param t=300\u00b5 ; [s] Zeit für µ\r\nR1 a 0 {t}\r\n.tran 1n 1u\r\n"
    )
    path = decks / f"{encoding}.cir"
    path.write_bytes(text.encode(encoding))
    deck = Netlist.load(path)
    assert deck.text == "* bruno\n.param t=300u\nR1 a 0 {t}\n.tran 1n 1u\n.end\n"
    assert deck.params["t"].value == 300e-6
    assert bool(deck.remarks) == (encoding != "utf-8-sig")


def test_libraries_may_call_their_own_file_and_lie_on_paths_with_blanks(tmp_path):
    (tmp_path / "my pdk").mkdir()
    (tmp_path / "my pdk" / "p.lib").write_text(
        "* p\n.lib tt\n.lib 'p.lib' common\n.param k=1\n.endl tt\n"
        ".lib common\n.param c=5\n.endl\n.lib TT\n.param k=9\n.endl\n"
    )
    path = tmp_path / "deck.cir"
    for line in ('.lib "my pdk/p.lib" tt', ".LIB 'my pdk/p.lib' 'TT'"):
        path.write_text(f"* t\n{line}\n")
        assert {n: p.value for n, p in Netlist.load(path).params.items()} == {"k": 1, "c": 5}
    (tmp_path / "my pdk" / "plain.lib").write_text(".param k=3\n")
    path.write_text('* t\n.lib "my pdk/plain.lib"\n')
    assert Netlist.load(path).params["k"].value == 3
    path.write_text("* t\n.lib plain.lib\n.tran 1n 1u\n")
    with pytest.raises(NetlistError, match=r"deck.cir:2: write .lib FILE SECTION"):
        Netlist.load(path)


def test_continuations_of_every_kind_are_joined(tmp_path):
    path = tmp_path / "deck.cir"
    path.write_text("* t\nV1 a\n* between\n\n  + 0 ; behind\n+PWL(0 0\n+ 1u 1)\nR1 a 0 \\\\\n1k\n.tran 1n 1u\n")
    assert Netlist.load(path).top_level() == ["V1 a 0 PWL(0 0 1u 1)", "R1 a 0 1k"]


def test_the_run_is_recorded_from_its_start(decks):
    assert ".tran 5u 0.01 0 20u\n" in neuron_jobs([RUN], decks / "tran_with_start.cir")[0].deck


def test_show_and_check_say_what_was_taken(bruno, decks):
    code, out, err = bruno("netlist", "check", decks / "param_in_body.cir")
    assert code == 0
    assert "xneuron = my_neuron (body.lib:3)" in err
    assert f"{len(Netlist.load(decks / 'param_in_body.cir').params)} parameters: vdd vth" in err
    code, out, err = bruno("netlist", "show", decks / "micro_sign_latin1.cir")
    assert code == 0
    assert "is not UTF-8, read as Latin-1" in err
    code, out, _ = bruno("netlist", "show", decks / "area_expression.cir")
    assert "= 1.6e-11" in out


def test_check_finds_a_node_of_each_circuit_in_ngspice_s_flattened_deck(decks, monkeypatch):
    seen = []
    run = Worker.run
    monkeypatch.setattr(Worker, "run", lambda worker, job: seen.append(job) or run(worker, job))
    check(decks / "rram.cir")
    assert "v(xcell.s)" in seen[-1].vectors
    monkeypatch.setattr(
        "bruno_spice.calibration.targets.inspection._inner_nodes", lambda _: ["v(xcell.of_another_circuit)"]
    )
    with pytest.raises(NetlistError, match=r"no node 'xcell\.of_another_circuit'"):
        check(decks / "rram.cir")


def test_an_expression_that_ngspice_cannot_evaluate_is_named_with_its_line(tmp_path):
    path = tmp_path / "deck.cir"
    path.write_text("* t\n.param a=1\n.param b={a*nowhere}\nR1 a 0 {b}\n.tran 1n 1u\n")
    with pytest.raises(NetlistError, match=r"deck.cir:3: .*nowhere"):
        _ = Netlist.load(path).params
    path.write_text("* t\n.param a=1\n.param b={a/0}\nR1 a 0 {b}\n.tran 1n 1u\n")
    with pytest.raises(NetlistError, match=r"deck.cir:3: .*inf.* in '\{b\}'$"):
        _ = Netlist.load(path).params


def test_a_stop_time_of_expressions_is_ngspice_s(tmp_path):
    path = tmp_path / "deck.cir"
    path.write_text("* t\n.param f=1k\n.func half(x) {x/2}\nR1 a 0 1k\nV1 a 0 1\n.tran 1u '2*half( 1/f )' 0 1u UIC\n")
    deck = Netlist.load(path)
    assert deck.t_stop_s() == pytest.approx(1e-3, rel=1e-12)
    assert ".tran 1u '2*half( 1/f )' 0 1u uic" in transient_job(deck, ["v(a)"], None).deck
