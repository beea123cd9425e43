"""Data, splits, scores and floors."""

import os
import pickle
import signal
import threading
import time
import zipfile
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import torch

from bruno_spice.devices.errors import InputError
from bruno_spice.training.tasks import Task, load_task
from bruno_spice.training.tasks.braille import SPLIT_SHA256, from_pickle
from bruno_spice.training.tasks.chorales import canonical_rolls, example, load
from bruno_spice.training.tasks.classification import stratified_split
from bruno_spice.training.tasks.corpus import corpus_rolls, part_of
from bruno_spice.training.tasks.own_example import load as load_own
from bruno_spice.training.tasks.pickles import read_pickle
from bruno_spice.training.tasks.sources import DataNotFound, fetch, load_arrays, local_file


@pytest.fixture
def chorales(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.setenv("BRUNO_DATA", str(data_folder))
    return load()


def test_the_canonical_chorales_have_the_published_sizes(chorales: Task) -> None:
    assert chorales.sizes() == {"train": 229, "valid": 76, "test": 77}
    assert sum(len(each.inputs) for each in chorales.parts["test"]) == 4648
    assert chorales.n_inputs == chorales.n_outputs == 88
    assert "canonical" in chorales.source


def test_the_floors_come_out_as_published(chorales: Task) -> None:
    floors = chorales.floors()
    nll = {name: round(scores["nll"], 2) for name, scores in floors.items()}
    assert nll["marginal"] == 11.09
    assert nll["markov"] == 10.49
    assert nll["logistic"] == pytest.approx(9.05, abs=0.02)
    assert floors["logistic"]["bce_per_key"] == pytest.approx(0.1670, abs=0.0005)


def test_nll_is_the_sum_over_keys_averaged_over_unpadded_frames() -> None:
    rng = np.random.default_rng(0)
    pieces = [(rng.random((n, 88)) < 0.1).astype(np.uint8) for n in (9, 14)]
    task = load_own()  # any task, for its collate
    chorales = __import__("bruno_spice.training.tasks.chorales", fromlist=["Chorales"]).Chorales(task.parts, "made up")
    batch = chorales.collate([example(piece) for piece in pieces])
    logits = torch.randn(13, 2, 88)
    probability = torch.sigmoid(logits.double())
    by_hand, frames = 0.0, 0
    for b, piece in enumerate(pieces):
        for t in range(len(piece) - 1):
            p, x = probability[t, b].numpy(), piece[t + 1]
            by_hand -= float(np.sum(x * np.log(p) + (1 - x) * np.log(1 - p)))
            frames += 1
    total, weight = chorales.scores(logits, batch)["nll"]
    assert weight == frames == 21
    assert total / weight == pytest.approx(by_hand / frames, rel=1e-5)
    loss, loss_weight = chorales.loss(logits, batch)
    assert float(loss) / loss_weight == pytest.approx(by_hand / frames, rel=1e-5)


def test_a_wrong_file_in_bruno_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRUNO_DATA", str(tmp_path))
    (tmp_path / "JSB_Chorales.mat").write_bytes(b"something else")
    with pytest.raises(InputError, match="not the file that is meant"):
        load()


def test_a_failed_download_says_where_to_put_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path))
    monkeypatch.delenv("BRUNO_DATA", raising=False)
    with pytest.raises(DataNotFound, match=f"put it into {tmp_path}"):
        fetch("no_such_file.mat", "http://127.0.0.1:9/no_such_file.mat", "0" * 64)


def test_a_damaged_file_in_the_cache_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path))
    monkeypatch.delenv("BRUNO_DATA", raising=False)
    (tmp_path / "a.mat").write_bytes(b"half of")
    assert local_file("a.mat", "0" * 64) is None


def test_the_corpus_stands_in_where_the_file_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from music21 import corpus

    four = sorted(str(path) for path in corpus.getComposer("bach") if "bwv26" in str(path))[:5]
    monkeypatch.setattr(corpus, "getComposer", lambda _: four)
    monkeypatch.setenv("BRUNO_CACHE", str(tmp_path))
    told: list[str] = []
    interrupted: set[int] = set()

    def interrupt() -> None:
        """Ctrl-C, which reaches every process of the terminal; this one takes it in its own way."""
        until_s = time.monotonic() + 60
        while len(interrupted) < len(active_children()) or not interrupted:
            for child in active_children():
                if child.pid is not None:
                    os.kill(child.pid, signal.SIGINT)
                    interrupted.add(child.pid)
            time.sleep(0.01)
            assert time.monotonic() < until_s

    sender = threading.Thread(target=interrupt)
    sender.start()
    rolls, source = corpus_rolls(told.append)
    sender.join()
    assert interrupted
    pieces = [piece for part in rolls.values() for piece in part]
    assert 2 <= len(pieces) <= len(four)
    assert "music21" in source
    assert told
    voices = np.concatenate(pieces).sum(1)
    assert voices.max() <= 8
    assert 3 < voices.mean() <= 4
    assert len(list(tmp_path.iterdir())) == 1
    told.clear()
    again, _ = corpus_rolls(told.append)
    assert not told
    assert sum(len(part) for part in again.values()) == len(pieces)


def test_the_corpus_split_follows_names_and_keeps_its_shares() -> None:
    names = [f"bwv{n}.mxl" for n in range(2000)]
    parts = [part_of(name) for name in names]
    assert parts == [part_of(name) for name in names]
    assert parts.count("train") == pytest.approx(1200, abs=70)
    assert parts.count("test") == pytest.approx(400, abs=60)


@pytest.mark.parametrize(("name", "trials"), [("braille7", 1158), ("braille27", 5400)])
def test_braille_comes_in_its_written_down_split(
    name: str, trials: int, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRUNO_DATA", str(data_folder))
    task = load_task(name)
    assert sum(task.sizes().values()) == trials
    assert {part: task.split[f"{part}_sha256"] for part in task.sizes()} == SPLIT_SHA256[name]
    for part, share in (("train", 0.7), ("valid", 0.1), ("test", 0.2)):
        counts = np.bincount([int(each.target) for each in task.parts[part]], minlength=task.n_outputs)
        assert np.ptp(counts / (trials / task.n_outputs * share)) < 0.2


def test_braille7_floors_lie_where_a_linear_reader_does(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRUNO_DATA", str(data_folder))
    floors = {name: scores["accuracy"] for name, scores in load_task("braille7").floors().items()}
    assert floors["linear_on_rates"] == pytest.approx(0.80, abs=0.03)
    assert floors["linear_on_time_bins"] == pytest.approx(0.89, abs=0.03)


def test_the_split_follows_content_and_not_order() -> None:
    rng = np.random.default_rng(0)
    inputs = list(rng.random((40, 3, 2)).astype(np.float32))
    classes = np.arange(40) % 4
    order = rng.permutation(40)
    one = stratified_split(inputs, classes)
    other = stratified_split([inputs[i] for i in order], classes[order])
    assert one == {part: [int(order[i]) for i in chosen] for part, chosen in other.items()}
    assert sorted(index for chosen in one.values() for index in chosen) == list(range(40))


def test_the_authors_pickle_of_braille_events_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    trials = [
        {"letter": letter, "events": [[sorted(rng.random(3).tolist()), [0.5]] for _ in range(12)]}
        for letter in ["Space", "A", "B"] * 20
    ]
    path = tmp_path / "letters"
    path.write_bytes(pickle.dumps(trials, protocol=2))
    task = from_pickle(path)
    assert task.labels == ["Space", "A", "B"]
    assert float(task.parts["train"][0].inputs.sum()) == 48


class Mischief:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("mischief"),))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps([Mischief()]))
    with pytest.raises(InputError, match="no plain data"):
        read_pickle(path)
    assert not (tmp_path / "mischief").exists()


LETTERS = [{"letter": np.str_("A"), "events": np.arange(12.0).reshape(3, 4)}]
ROUND: list[object] = [1]
ROUND.append(ROUND)


def test_a_pickle_of_plain_data_comes_as_lists_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "letters").write_bytes(pickle.dumps(LETTERS))
    assert read_pickle(tmp_path / "letters") == [{"letter": "A", "events": np.arange(12.0).reshape(3, 4).tolist()}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps(ROUND), "Circular"),
        (b"]" * 100_000 + b"a" * 99_999 + b".", "recursion"),
        (b"\x80\x04B\xff\xff\xff\x7f.", "MemoryError|truncated"),
        (b"cposix\nsystem\n(Vtouch mischief\ntR.", "posix.system"),
        (b"cnumpy\ndtype\n.", "no plain data"),
        (b"", "EOFError"),
    ],
)
def test_a_hostile_pickle_ends_in_a_sentence(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(InputError, match=f"refused as a pickle of plain data .*({said})") as refused:
        read_pickle(tmp_path / "odd")
    assert "\n" not in str(refused.value)


def test_a_pickle_that_crashes_numpy_takes_its_reader_down_and_not_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = tmp_path / "crash.py"
    crash.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr("bruno_spice.training.tasks.pickles.CHILD", crash)
    (tmp_path / "letters").write_bytes(pickle.dumps(LETTERS))
    with pytest.raises(InputError, match="crashed its reader with SIGSEGV"):
        read_pickle(tmp_path / "letters")
    crash.write_text("while True:\n    pass\n")
    monkeypatch.setattr("bruno_spice.training.tasks.pickles.TIMEOUT_S", 0.5)
    with pytest.raises(InputError, match="not read within"):
        read_pickle(tmp_path / "letters")


def test_a_zip_bomb_and_a_damaged_archive_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(10_000_000))
    monkeypatch.setattr("bruno_spice.training.tasks.sources.MOST_UNPACKED_BYTES", 1_000_000)
    with pytest.raises(InputError, match="10,000,000 bytes unpacked"):
        load_arrays(tmp_path / "bomb.npz")
    np.savez(tmp_path / "whole.npz", a=np.arange(100.0))
    content = bytearray((tmp_path / "whole.npz").read_bytes())
    content[300] ^= 1
    (tmp_path / "flipped.npz").write_bytes(content)
    np.savez(tmp_path / "objects.npz", a=np.array([Mischief()], dtype=object))
    for name in ("flipped", "objects"):
        with pytest.raises(InputError, match=r"not a readable \.npz"):
            load_arrays(tmp_path / f"{name}.npz")


def test_a_task_of_ones_own_is_a_file_and_a_function(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "training" / "tasks" / "own_example.py"
    mine = tmp_path / "my_task.py"
    mine.write_text(source.read_text())
    task = load_task(f"{mine}:load", {"trials": 30})
    assert sum(task.sizes().values()) == 30
    for name, complaint in (
        ("nonsense", "unknown task 'nonsense'"),
        (f"{mine}:lod", "has no function 'lod'"),
        (f"{tmp_path}/none.py:load", "there is no file"),
        (f"{'a' * 5000}.py:load", "there is no file aaa"),
        ("a" * 5000, "unknown task 'aaa"),
    ):
        with pytest.raises(InputError, match=complaint):
            load_task(name)
    with pytest.raises(InputError, match=r"has no option 'trails'; it has: trials, steps, seed"):
        load_task(f"{mine}:load", {"trails": 30})
    with pytest.raises(InputError, match=r"no sequence for valid \(.* 0 valid"):
        load_task(f"{mine}:load", {"trials": 6})


THREE = "classification([np.ones((4, 2))] * 30, np.arange(30) % 3, ['a', 'b'], 'made')"
PARTS_BY_HAND = "{part: [Example(torch.ones(4, 2), torch.tensor(0))] for part in ('train', 'valid', 'test')}"


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (THREE, r"sequence 2 has the class 2; a class is a whole number in 0\.\.\.1, the index of one of 2 labels"),
        (THREE.replace("% 3", "% 2 - 1"), r"sequence 0 has the class -1"),
        (THREE.replace("% 3", "% 2 / 1"), r"sequence 0 has the class 0\.0; a class is a whole number"),
        (THREE.replace("* 30,", "* 29,"), "29 sequences have 30 classes; give each sequence one"),
        (THREE.replace("(4, 2)", "4"), r"sequence 0 has the shape \(4,\); it must be \(steps, channels\)"),
        (THREE.replace("(4, 2)", "(0, 2)"), r"sequence 0 has the shape \(0, 2\)"),
        (THREE.replace("np.ones((4, 2))", "np.full((4, 2), np.nan)"), "sequence 0 holds nan in step 0, channel 0"),
        (THREE.replace("np.ones((4, 2))", "[['x']]"), "sequence 0 is not made of numbers"),
        (f"Classification({PARTS_BY_HAND} | {{'test': [Example(torch.ones(4, 3), torch.tensor(0))]}}, 's')",
         "task '.*': sequence 0 of test has 3 channels, the first of train 2"),
        (f"Classification({PARTS_BY_HAND}, 's')", "task '.*': sequence 0 of train has the class 0"),
        ("Classification({'train': []}, 's')", "task '.*': there is no part 'valid'"),
    ],
)  # fmt: skip
def test_a_task_that_no_network_can_learn_is_one_sentence(made: str, complaint: str, tmp_path: Path) -> None:
    mine = tmp_path / "my_task.py"
    imports = "from bruno_spice.training.tasks.classification import Classification, Example, classification"
    mine.write_text(f"import numpy as np\nimport torch\n{imports}\n\n\ndef load():\n    return {made}\n")
    with pytest.raises(InputError, match=complaint) as caught:
        load_task(f"{mine}:load")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"task '{mine}:load': ")


def test_a_syntax_error_is_named_with_its_line(tmp_path: Path) -> None:
    mine = tmp_path / "my_task.py"
    mine.write_text("import numpy\n\ndef load(:\n")
    with pytest.raises(InputError, match=r"my_task\.py, line 3: invalid syntax"):
        load_task(f"{mine}:load")


@pytest.mark.parametrize("fault", ["{}.lost", "open('lost.csv')"])
def test_a_fault_within_ones_own_task_is_not_taken_for_a_missing_one(fault: str, tmp_path: Path) -> None:
    mine = tmp_path / "my_task.py"
    mine.write_text(f"{fault}\n")
    with pytest.raises((AttributeError, FileNotFoundError), match="lost"):
        load_task(f"{mine}:load")


def test_canonical_rolls_are_plain_arrays(data_folder: Path) -> None:
    rolls = canonical_rolls(data_folder / "JSB_Chorales.mat")
    assert {piece.shape[1] for part in rolls.values() for piece in part} == {88}
