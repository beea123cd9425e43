"""The fenced blocks of a page, run in order as a reader would, with what they print held against what the page shows.

- ``bash``: each command is run; ``bruno ...`` within this process, ``make`` as a dry run (a target takes minutes, and
  is nothing but commands that are run here), anything else by bash.
- ``{ .bash .elsewhere }``: needs a machine of another kind (a cluster, a GPU); its commands are parsed here, and
  run by ``test_compute.py``.
- ``python``: run, in one namespace a page.
- ``text`` right behind a block: what it prints. Lines follow each other unless ``...`` stands between them; numbers may
  differ by a twentieth.
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from bruno_spice.calibration.commands.shared import run
from bruno_spice.cli import app

FENCE = re.compile(r"^```\s*(?P<kind>\{[^}\n]*\}|\w*)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
TOLERANCE = 0.05


@dataclass(frozen=True)
class Block:
    """`kind` is ``bash``, ``elsewhere``, ``python`` or ``text``; `line` is where it begins in the page."""

    kind: str
    body: str
    line: int


def blocks(page: Path) -> list[Block]:
    """What is to be done with the fenced blocks of `page`, in order; other languages are left out."""
    text = page.read_text()
    found = []
    for fence in FENCE.finditer(text):
        kind = "elsewhere" if ".elsewhere" in fence["kind"] else fence["kind"]
        if kind in ("bash", "elsewhere", "python", "text"):
            found.append(Block(kind, fence["body"], text.count("\n", 0, fence.start()) + 1))
    return found


def commands(body: str) -> list[str]:
    """The commands of a bash block; a here-document and lines that end in a backslash stay in one piece."""
    found: list[str] = []
    waiting, joined = "", False
    for line in body.splitlines():
        if waiting or joined:
            found[-1] += "\n" + line
            waiting = "" if line == waiting else waiting
        elif line.strip() and not line.startswith("#"):
            found.append(line)
            here = re.search(r"<<\s*'?(\w+)'?", line)
            waiting = here[1] if here else ""
        joined = line.endswith("\\") and not waiting
    return found


def known(command: str) -> tuple[Any, list[str]]:
    """The program's entry for `command`, from ``bruno`` or ``commands.train`` on, and the words behind its name.

    Fails where there is no such command, or an option is not one of its own.
    """
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    start = next(n + 1 for n, word in enumerate(words) if word in ("bruno", "bruno_spice"))
    entry, rest = typer.main.get_command(app), words[start:]
    while hasattr(entry, "commands") and rest:
        assert rest[0] in entry.commands, f"{command}: there is no '{rest[0]}'"
        entry, rest = entry.commands[rest[0]], rest[1:]
    options = {option for param in entry.params for option in [*param.opts, *param.secondary_opts]} | {"--help"}
    unknown = [word for word in rest if word.startswith("--") and word.split("=")[0] not in options]
    assert not unknown, f"{command}: has no {unknown[0]}"
    return entry, rest


def check(command: str) -> None:
    """Fail unless `command` is one that the program takes as it stands; commands of other programs pass."""
    if re.search(r"\b(bruno|training\.cli) ", command):
        entry, rest = known(command)
        entry.make_context(command, rest)


def perform(block: Block, names: dict) -> str:
    """Run `block`; return what it printed. `names` is the page's Python namespace."""
    if block.kind == "python":
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.body, f"line {block.line}", "exec"), names)
        return printed.getvalue()
    if block.kind == "elsewhere":
        for command in commands(block.body):
            check(command)
        return ""
    return "".join(_shell(command) for command in commands(block.body))


def _shell(command: str) -> str:
    if command.startswith("bruno "):
        return _bruno(shlex.split(command.replace("\\\n", " "), comments=True))
    command = re.sub(r"^make\b", f"make --dry-run --directory={Path(__file__).parents[2]}", command)
    done = subprocess.run(
        ["bash", "-euc", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def _bruno(words: list[str]) -> str:
    printed = io.StringIO()
    patched = pytest.MonkeyPatch()
    patched.setattr(sys, "argv", words)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("default")  # as on a reader's command line; pytest makes them errors
            with pytest.raises(SystemExit) as end:
                run(app)
    finally:
        patched.undo()
    assert not end.value.code, f"{shlex.join(words)}\n{printed.getvalue()}"
    return printed.getvalue()


def difference(expected: str, printed: str) -> str:
    """Empty if `printed` holds `expected`; else the first line that it does not hold."""
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    at, anywhere = 0, True
    for wanted in (" ".join(line.split()) for line in expected.splitlines() if line.strip()):
        if wanted == "...":
            anywhere = True
            continue
        places = range(at, len(lines)) if anywhere else range(at, min(at + 1, len(lines)))
        place = next((n for n in places if _alike(wanted, lines[n])), None)
        if place is None:
            return wanted
        at, anywhere = place + 1, False
    return ""


def _alike(wanted: str, line: str) -> bool:
    """Whether `line` is `wanted`; ``...`` stands for anything, and a number for those near it."""
    fixed = [re.escape(part) for part in NUMBER.split(wanted)]
    pattern = f"({NUMBER.pattern})".join(fixed).replace(re.escape("..."), ".*?")
    found = re.fullmatch(pattern, line, re.IGNORECASE)
    return found is not None and all(
        float(there) == pytest.approx(float(here), rel=TOLERANCE)
        for here, there in zip(NUMBER.findall(wanted), found.groups(), strict=True)
    )
