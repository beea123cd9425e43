"""What a Verilog-A module declares: ports, parameters with units and ranges, variables, functions, and its analog code.

Read from tokens (`source` beside it) without judging them; `checking` does that.
Source: Verilog-AMS 2.4, chapters 3 to 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bruno_spice.calibration.verilog_a.foreign.source import Token, read_source, shown
from bruno_spice.devices.errors import InputError

VARIABLES = ("real", "integer", "string")
DIRECTIONS = ("inout", "input", "output", "electrical", "thermal")
"""Words of a list of ports that name none."""
NO_DECLARATION = ("generate", "if", "for", "case", "initial", "always", "assign", "defparam", "task")
TOO_DEEP = "statements within statements, too deep to be read"
_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, (")", "]", "}")


@dataclass(frozen=True)
class Parameter:
    """A parameter as it is declared; unit and meaning are those of its attributes."""

    name: str
    kind: str
    default: str
    unit: str
    meaning: str
    ranges: str
    where: str


@dataclass(frozen=True)
class Function:
    """An analog function: which of its arguments it writes."""

    name: str
    written: tuple[bool, ...]


@dataclass
class Module:
    """One module of a file."""

    name: str
    path: Path
    line: int
    ports: list[str] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    variables: dict[str, Token] = field(default_factory=dict)
    """Names of real, integer and string variables, each with where it is declared."""
    functions: dict[str, Function] = field(default_factory=dict)
    analog: list[list[Token]] = field(default_factory=list)
    """The statement of each analog block."""
    others: list[Token] = field(default_factory=list)
    """First words of what stands outside of the analog blocks and declares nothing: a choice of blocks, an instance."""


def read_modules(path: Path) -> tuple[list[Module], list[Token]]:
    """The modules of the file at `path`, and all of its tokens. Raises `InputError` where it holds none."""
    tokens = read_source(path)
    modules = []
    at = 0
    while at < len(tokens):
        if tokens[at].text in ("module", "macromodule"):
            end = next((i for i in range(at, len(tokens)) if tokens[i].text == "endmodule"), None)
            if end is None:
                raise InputError(f"{tokens[at].where}: a module without endmodule")
            try:
                modules.append(_module(tokens[at + 1 : end], path))
            except RecursionError:
                raise InputError(f"{path}: {TOO_DEEP}") from None
            at = end
        at += 1
    if not modules:
        raise InputError(f"{path}: there is no module in it; a Verilog-A model is a module")
    return modules, tokens


def matching(tokens: Sequence[Token], at: int) -> int:
    """The index behind the bracket that closes the one at `at`. Raises `InputError` where none does."""
    depth = 0
    for i in range(at, len(tokens)):
        depth += (tokens[i].text in _OPEN) - (tokens[i].text in _CLOSE)
        if depth == 0:
            return i + 1
    raise InputError(f"{tokens[at].where}: a bracket that is not closed")


def until(tokens: Sequence[Token], at: int, ends: Sequence[str] = (";",)) -> int:
    """The index of the first of `ends` at or behind `at`, outside brackets; the end of the tokens without one."""
    while at < len(tokens) and tokens[at].text not in ends:
        at = matching(tokens, at) if tokens[at].text in _OPEN else at + 1
    return min(at, len(tokens))


def _module(tokens: list[Token], path: Path) -> Module:
    if not tokens or tokens[0].kind != "name":
        raise InputError(f"{path}: a module without a name")
    head = until(tokens, 0)
    found = Module(tokens[0].text, tokens[0].path, tokens[0].line)
    found.ports = [t.text for t in tokens[1:head] if t.kind == "name" and t.text not in DIRECTIONS]
    attributes: list[Token] = []
    at = head + 1
    while at < len(tokens):
        token = tokens[at]
        if token.text == "(*":
            end = next((i for i in range(at, len(tokens)) if tokens[i].text == "*)"), len(tokens) - 1)
            attributes = tokens[at + 1 : end]
            at = end + 1
            continue
        if token.text == "analog" and at + 1 < len(tokens) and tokens[at + 1].text == "function":
            end = next((i for i in range(at, len(tokens)) if tokens[i].text == "endfunction"), len(tokens))
            _function(_without_attributes(tokens[at + 2 : end]), found)
            at = end + 1
        elif token.text == "analog":
            end = statement_end(tokens, at + 1)
            found.analog.append(_without_attributes(tokens[at + 1 : end]))
            at = end
        elif token.text in NO_DECLARATION:
            found.others.append(token)
            at = statement_end(tokens, at)
        else:
            end = until(tokens, at)
            _declaration(tokens[at:end], attributes, found)
            at = end + 1
        attributes = []
    return found


def statement_end(tokens: Sequence[Token], at: int) -> int:
    """The index behind the statement that begins at `at`."""
    if at >= len(tokens):
        return at
    text = tokens[at].text
    if text in ("begin", "case", "casex", "casez"):
        depth, i = 0, at
        while i < len(tokens):
            depth += tokens[i].text in ("begin", "case", "casex", "casez")
            depth -= tokens[i].text in ("end", "endcase")
            i += 1
            if depth == 0:
                return i
        raise InputError(f"{tokens[at].where}: {text} without an end")
    if text in ("if", "for", "while", "repeat", "@") and at + 1 < len(tokens) and tokens[at + 1].text == "(":
        end = statement_end(tokens, matching(tokens, at + 1))
        if text == "if" and end < len(tokens) and tokens[end].text == "else":
            return statement_end(tokens, end + 1)
        return end
    if text in ("initial", "analog"):
        return statement_end(tokens, at + 1)
    return until(tokens, at) + 1


def _without_attributes(tokens: Sequence[Token]) -> list[Token]:
    found, inside = [], False
    for token in tokens:
        inside = inside or token.text == "(*"
        found += [] if inside else [token]
        inside = inside and token.text != "*)"
    return found


def _declaration(tokens: list[Token], attributes: list[Token], found: Module) -> None:
    if not tokens:
        return
    words = [t.text for t in tokens[:3]]
    if words[0] in ("parameter", "localparam"):
        if words[0] == "parameter":
            _parameters(tokens[1:], attributes, found)
        return
    if words[0] in VARIABLES:
        for name in declared_names(tokens[1:]):
            found.variables[name.text] = name
    elif tokens[0].kind == "name" and (words[1:] == ["#", "("] or (words[2:] == ["("] and tokens[1].kind == "name")):
        found.others.append(tokens[0])


def declared_names(tokens: Sequence[Token]) -> list[Token]:
    """The names that a declaration of variables lists."""
    names = []
    at = matching(tokens, 0) if tokens and tokens[0].text == "[" else 0
    while at < len(tokens):
        if tokens[at].kind == "name":
            names.append(tokens[at])
        at = until(tokens, at, (",",)) + 1
    return names


def _parameters(tokens: list[Token], attributes: list[Token], found: Module) -> None:
    kind = tokens[0].text if tokens and tokens[0].text in VARIABLES else "real"
    at = 1 if tokens and tokens[0].text in VARIABLES else 0
    said = {a.text: b.text.strip('"') for a, sign, b in zip(attributes, attributes[1:], attributes[2:], strict=False)
            if sign.text == "="}  # fmt: skip
    while at < len(tokens):
        end = until(tokens, at, (",",))
        part = tokens[at:end]
        if part and part[0].kind == "name":
            equals = next((i for i, t in enumerate(part) if t.text == "="), len(part) - 1)
            limits = next((i for i, t in enumerate(part) if t.text in ("from", "exclude")), len(part))
            found.parameters.append(
                Parameter(
                    part[0].text, kind, shown(part[equals + 1 : limits]), said.get("units", ""),
                    said.get("desc", said.get("info", "")), shown(part[limits:]), part[0].where,
                )
            )  # fmt: skip
        at = end + 1


def _function(tokens: list[Token], found: Module) -> None:
    name_at = 1 if tokens and tokens[0].text in ("real", "integer") else 0
    if name_at >= len(tokens):
        return
    order: list[str] = []
    written: set[str] = set()
    at = until(tokens, name_at) + 1
    while at < len(tokens) and tokens[at].text in ("input", "output", "inout", *VARIABLES, "(*"):
        end = until(tokens, at)
        if tokens[at].text in ("input", "output", "inout"):
            names = [t.text for t in tokens[at + 1 : end] if t.kind == "name" and t.text not in VARIABLES]
            order += names
            written |= set(names) if tokens[at].text != "input" else set()
        at = end + 1
    name = tokens[name_at].text
    found.functions[name] = Function(name, tuple(argument in written for argument in order))
