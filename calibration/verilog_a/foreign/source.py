"""Verilog-A files as tokens: includes read, macros written out, comments gone, every token with its file and line.

Directives that are followed: ```include``, ```define`` (with arguments), ```undef``, ```ifdef``, ```ifndef``,
```elsif``, ```else``, ```endif``; others are passed over. The standard files disciplines.vams and constants.vams are
the compiler's own, and so is what it defines before it reads. Source: Verilog-AMS 2.4, chapter 10; OpenVAF 23.5, tried.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.files import is_file

MAX_FILE_BYTES = 4 << 20
MAX_TOKENS = 1_000_000
MAX_DEPTH = 40
"""Of files that include files, and of macros within macros."""
PREDEFINED = ("__OPENVAF__", "__VAMS__", "__VAMS_COMPACT_MODELING__")
STANDARD = ("disciplines.vams", "constants.vams", "disciplines.h", "constants.h", "disciplines.va", "constants.va")
_TOKEN = re.compile(
    r"(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<newline>\n)|(?P<goes_on>\\\r?\n)|(?P<blank>[^\S\n]+)"
    r"|(?P<string>\"(?:\\.|[^\"\\\n])*\")|(?P<directive>`[A-Za-z_]\w*)|(?P<name>[A-Za-z_$][\w$]*|\\\S+)"
    r"|(?P<number>(?:\d[\d_]*(?:\.[\d_]+)?|\.\d+)(?:[eE][+-]?\d+)?[TGMKkmunpfa]?\b|\d+)"
    r"|(?P<sign><\+|\(\*|\*\)|[=!]==|[<>=!]=|&&|\|\||\*\*|<<<?|>>>?|~\^|\^~|[^\s])",
    re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A word of the source: its text, its kind (name, number, string, sign; glued: a bracket right behind a name), and
    where it stands: line and, but for what a macro wrote, first letter in the file's text."""

    text: str
    kind: str
    path: Path
    line: int
    at: int | None = None

    @property
    def where(self) -> str:
        """``file:line``."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class _Macro:
    parameters: tuple[str, ...] | None
    body: tuple[Token, ...]


def read_source(path: Path) -> list[Token]:
    """The tokens of the file at `path` with everything it includes. Raises `InputError` by file and line."""
    return list(_Preprocessor().file(path, "", 0))


def written_out(path: Path) -> str:
    """The text of the file at `path` with the files beside it that it includes in their places.

    What no one takes, within an ```ifdef``, and the compiler's own files stay as they are. Raises `InputError`.
    """
    reading = _Preprocessor()
    for _ in reading.file(path, "", 0):
        pass
    return "".join(reading.written)


def _raw(path: Path, at: str) -> str:
    try:
        if not is_file(path):
            raise InputError(f"{at}there is no file {path}")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{at}{path} has more than {MAX_FILE_BYTES >> 20} MiB, which is no model")
        text = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{at}cannot read {path}: {error.strerror}") from None
    if "\0" in text:
        raise InputError(f"{path}: a zero byte, so this is no text")
    return text


def _tokens(text: str, path: Path) -> Iterator[Token]:
    """Tokens of one file, line ends included as tokens, for directives end there."""
    line, before = 1, ""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind not in ("comment", "blank", "goes_on"):
            glued = match[0] == "(" and before == "name"
            yield Token(match[0], "glued" if glued else kind, path, line, match.start())
        before = kind
        line += match[0].count("\n")


@dataclass
class _Preprocessor:
    macros: dict[str, _Macro] = field(default_factory=lambda: dict.fromkeys(PREDEFINED, _Macro(None, ())))
    count: int = 0
    size: int = 0
    written: list[str] = field(default_factory=list)
    """The text with includes in their places, in parts."""

    def file(self, path: Path, at: str, depth: int) -> Iterator[Token]:
        if depth > MAX_DEPTH:
            raise InputError(f"{at}more than {MAX_DEPTH} files that include one another")
        text, done_to = _raw(path, at), 0
        self.size += len(text)
        if self.size > MAX_FILE_BYTES:
            most = f"more than {MAX_FILE_BYTES >> 20} MiB"
            raise InputError(f"{path}: has {most} with what it includes, which is no model")
        waiting = list(_tokens(text, path))[::-1]
        taking: list[bool] = []  # of the branches of `ifdef that are open: whether this one counts
        done: list[bool] = []  # whether an earlier or this branch counted
        while waiting:
            token = waiting.pop()
            if token.kind == "newline":
                continue
            name = token.text[1:] if token.kind == "directive" else ""
            if name in ("ifdef", "ifndef"):
                known = self._word(waiting, token) in self.macros
                taking.append(known == (name == "ifdef"))
                done.append(taking[-1])
            elif name in ("elsif", "else", "endif"):
                if not taking:
                    raise InputError(f"{token.where}: `{name} without `ifdef")
                if name == "endif":
                    taking.pop()
                    done.pop()
                else:
                    counts = name == "else" or self._word(waiting, token) in self.macros
                    taking[-1] = counts and not done[-1]
                    done[-1] = done[-1] or taking[-1]
            elif not all(taking):
                if name == "define":
                    self._rest(waiting)
            elif name == "include":
                start, end, beside = self._included(waiting, token)
                if beside is not None:
                    self.written.append(text[done_to:start])
                    done_to = end
                    yield from self.file(beside, f"{token.where}: ", depth + 1)
            elif name == "define":
                self._define(waiting, token)
            elif name == "undef":
                self.macros.pop(self._word(waiting, token), None)
            elif name in self.macros:
                waiting.extend(reversed(self._expanded(name, waiting, token, 0)))
            elif name:
                if name[:2] not in ("M_", "P_"):  # constants of constants.vams stand for a number
                    self._rest(waiting)
                else:
                    yield self._counted(replace(token, text="0.0", kind="number"))
            else:
                yield self._counted(token)
        if taking:
            raise InputError(f"{path}: an `ifdef without `endif")
        rest = text[done_to:]
        self.written.append(rest if rest.endswith("\n") else f"{rest}\n")  # at a last line without end OpenVAF hangs

    def _counted(self, token: Token) -> Token:
        self.count += 1
        if self.count > MAX_TOKENS:
            raise InputError(f"{token.where}: more than {MAX_TOKENS:,} words with macros written out")
        return token

    def _included(self, waiting: list[Token], token: Token) -> tuple[int, int, Path | None]:
        """Where an ```include`` begins and ends in its file's text, and the file beside it: none for the compiler's."""
        named = waiting.pop() if waiting else token
        name = named.text.strip('"')
        if token.at is None or named.at is None or named.kind != "string" or not name:
            raise InputError(f'{token.where}: write `include "FILE" on one line, and in no macro')
        beside = token.path.parent / name
        if not is_file(beside) and Path(name).name not in STANDARD:
            raise InputError(f"{token.where}: there is no file {beside}")
        return token.at, named.at + len(named.text), beside if is_file(beside) else None

    def _define(self, waiting: list[Token], token: Token) -> None:
        rest = self._rest(waiting)
        if not rest or rest[0].kind != "name":
            raise InputError(f"{token.where}: a `define needs a name")
        name, body = rest[0].text, rest[1:]
        parameters: tuple[str, ...] | None = None
        if body and body[0].text == "(" and body[0].kind == "glued":
            end = next((i for i, t in enumerate(body) if t.text == ")"), None)
            if end is None:
                raise InputError(f"{token.where}: the arguments of `{name} have no end")
            parameters = tuple(t.text for t in body[1:end] if t.text != ",")
            body = body[end + 1 :]
        self.macros[name] = _Macro(parameters, tuple(body))

    def _expanded(self, name: str, waiting: list[Token], token: Token, depth: int) -> list[Token]:
        """The tokens of a macro's use, at the place of the use."""
        if depth > MAX_DEPTH:
            raise InputError(f"{token.where}: the macro `{name} calls itself")
        macro = self.macros[name]
        given: dict[str, list[Token]] = {}
        if macro.parameters is not None:
            arguments = _arguments(waiting, token, name)
            if len(arguments) != len(macro.parameters):
                raise InputError(
                    f"{token.where}: `{name} takes {len(macro.parameters)} arguments, not {len(arguments)}"
                )
            given = dict(zip(macro.parameters, arguments, strict=True))
        found: list[Token] = []
        left = [replace(t, path=token.path, line=token.line, at=None) for t in reversed(macro.body)]
        while left:
            t = left.pop()
            if t.kind == "name" and t.text in given:
                found.extend(given[t.text])
            elif t.kind == "directive" and t.text[1:] in self.macros:
                found.extend(self._expanded(t.text[1:], left, t, depth + 1))
            else:
                found.append(t)
            if len(found) > MAX_TOKENS:
                raise InputError(f"{token.where}: the macro `{name} grows without end")
        return found

    def _rest(self, waiting: list[Token]) -> list[Token]:
        """The tokens up to the line's end."""
        found = []
        while waiting and waiting[-1].kind != "newline":
            found.append(waiting.pop())
        return found

    def _word(self, waiting: list[Token], token: Token) -> str:
        rest = self._rest(waiting)
        if not rest:
            raise InputError(f"{token.where}: {token.text} needs a name")
        waiting.extend(reversed(rest[1:]))
        return rest[0].text


def _arguments(waiting: list[Token], token: Token, name: str) -> list[list[Token]]:
    """The arguments in brackets that follow a macro's name."""
    while waiting and waiting[-1].kind == "newline":
        waiting.pop()
    if not waiting or waiting.pop().text != "(":
        raise InputError(f"{token.where}: `{name} needs its arguments in brackets")
    arguments: list[list[Token]] = [[]]
    depth = 0
    while waiting:
        t = waiting.pop()
        if t.text == ")" and depth == 0:
            return arguments
        if t.text == "," and depth == 0:
            arguments.append([])
            continue
        depth += (t.text in ("(", "[", "{")) - (t.text in (")", "]", "}"))
        if t.kind != "newline":
            arguments[-1].append(replace(t, path=token.path, line=token.line, at=None))
    raise InputError(f"{token.where}: the arguments of `{name} have no end")


def shown(tokens: Sequence[Token]) -> str:
    """`tokens` as text, tight around signs."""
    text = " ".join(token.text for token in tokens)
    tight = re.sub(r" ?([(),\[\]:*/]) ?", r"\1", text).strip()
    return re.sub(r"(^|[(\[:,])([-+]) ", r"\1\2", tight)
