"""Statements: a deck's lines joined as ngspice joins them, and the one door through which they go to ngspice.

Only what is known to describe a circuit passes. What serves runs by hand (``.save``, ``.print``, ``.meas``, other
analyses) is left out; cards that there are not, and whatever could run a command or touch a file, are refused by name
and line. Spellings that mean the same become one: ``.macro`` is ``.subckt``. Source: inpcom.c, inp.c and the code
models of ngspice 39.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from bruno_spice.calibration.errors import NetlistError, unknown_name
from bruno_spice.calibration.spice.lines import Line
from bruno_spice.calibration.spice.words import KEPT, LEFT_OUT, MODELS, OPTIONS, OPTIONS_LEFT_OUT, RANDOM

MAX_STATEMENT = 4 << 20
"""Characters of one statement with its continuation lines."""
GOES_ON = "\\\\"
"""At the end of a line: the next one belongs to it."""
KNOWN = 1024
"""Statements that are remembered: decks of a sweep have all but a few in common."""
PARAM_FUNCTION = re.compile(r"\.param \w+ ?\(", re.IGNORECASE)
"""``.param f(x)={...}`` is ``.func``."""
_FUNCTION = re.compile(r"\.(?:func|param) (\w+) ?\(")
_MODEL_TYPE = re.compile(r"\.model \S+ \w+")
"""A type may have the name of a function that draws: XSPICE's ``limit`` is a limiter."""
_RANDOM = re.compile(rf"(?<![\w.])({'|'.join(RANDOM)})(?= ?\()")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_][\w.]*)\s?=(?!=)")


@dataclass(frozen=True)
class Statement:
    """One statement: its code with continuation lines joined, the span of its lines, and where it stands."""

    code: str
    first: int
    """Index of its first line in the deck."""
    end: int
    """Index behind its last line."""
    scope: str
    """The subcircuit that it stands in, lower-case; empty at deck level. ``.subckt`` and ``.ends`` belong outside."""
    line: Line

    @property
    def words(self) -> list[str]:
        """Words, lower-case, split at blanks outside braces and quotes."""
        return split_words(self.code.lower())

    @property
    def card(self) -> str:
        """The first word, lower-case: the card, or the element's name."""
        return self.code.split(" ", 1)[0].lower()


def statements_of(lines: Sequence[Line]) -> tuple[Statement, ...]:
    """The statements of a deck whose first line is the title. Raises `NetlistError` at the first that may not pass."""
    found = tuple(_joined(lines))
    _refuse_redefinitions(found)
    _refuse_chance(found)
    return found


def _refuse_chance(statements: Sequence[Statement]) -> None:
    """ngspice draws anew in each run: the numbers shown would not be those simulated, and one draw would be kept."""
    own = {(s.scope, match[1]) for s in statements if (match := _FUNCTION.match(s.code.lower()))}
    for statement in statements:
        for name in _of_random_names(statement.code):
            if own.isdisjoint({("", name), (statement.scope, name)}):
                raise NetlistError(
                    f"{statement.line.where}: {name} draws at random, so no two runs would agree; write the "
                    "nominal value, and the spread into NAME.variation.yaml for `bruno vary`, which can draw the same "
                    "again"
                )


@lru_cache(maxsize=KNOWN)
def _of_random_names(code: str) -> tuple[str, ...]:
    """Functions called in `code` that have the name of one that draws."""
    return tuple(found[1] for found in _RANDOM.finditer(_MODEL_TYPE.sub("", code.lower())))


def _refuse_redefinitions(statements: Sequence[Statement]) -> None:
    """Of two circuits, models or functions of one name ngspice takes the first and says so where nobody looks."""
    seen: dict[tuple[str, str, str], int] = {}
    for index, statement in enumerate(statements):
        if statement.card in (".subckt", ".model", ".func"):
            name = re.split(r"[\s(=]+", f"{statement.code.lower()} ", maxsplit=2)[1]
            first = seen.setdefault((statement.scope, statement.card, name), index)
            if first != index and _definition(statements, first) != _definition(statements, index):
                raise NetlistError(
                    f"{statement.line.where}: {statement.card} {name} is another one than at "
                    f"{statements[first].line.where}; ngspice would take the first, so rename one of them"
                )


def _definition(statements: Sequence[Statement], index: int) -> list[str]:
    """The code of what begins at `index`: a circuit with its ``.ends``, or one statement."""
    codes, depth = [], 0
    for statement in statements[index:]:
        depth += (statement.card == ".subckt") - (statement.card == ".ends")
        codes.append(statement.code.lower())
        if depth == 0:
            break
    return codes


def _joined(lines: Sequence[Line]) -> Iterator[Statement]:
    scopes: list[Statement] = []
    for statement in _passed(lines):
        if statement.card == ".ends":
            if not scopes:
                raise NetlistError(f"{statement.line.where}: .ends without .subckt")
            scopes.pop()
        yield replace(statement, scope=scopes[-1].words[1] if scopes else "")
        if statement.card == ".subckt":
            scopes.append(statement)
    if scopes:
        raise NetlistError(f"{scopes[-1].line.where}: .subckt {scopes[-1].words[1]} has no .ends")


def _passed(lines: Sequence[Line]) -> Iterator[Statement]:
    for first, end in _spans(lines):
        line = lines[first]
        parts = (lines[i].code.removesuffix(GOES_ON).strip() for i in range(first, end))
        code = " ".join(text for part in parts if (text := part.removeprefix("+").strip()))
        if len(code) > MAX_STATEMENT:
            raise NetlistError(f"{line.where}: a statement of more than {MAX_STATEMENT >> 20} MiB")
        passed, fault = _through_the_door(code)
        if fault:
            raise NetlistError(f"{line.where}: {fault}")
        if passed:
            yield Statement(passed, first, end, "", line)


def _spans(lines: Sequence[Line]) -> Iterator[tuple[int, int]]:
    """First line and the line behind the last of every statement, comment and blank lines between them included."""
    first, last, goes_on = 0, 0, False
    for index in range(1, len(lines)):
        code = lines[index].code
        if not code:
            continue
        if code.startswith("+") or goes_on:
            if not first or lines[index].path != lines[first].path:
                raise NetlistError(f"{lines[index].where}: a line that begins with + has nothing to continue")
        else:
            if first:
                yield first, last + 1
            first = index
        last, goes_on = index, code.endswith(GOES_ON)
    if first:
        yield first, last + 1


@lru_cache(maxsize=KNOWN)
def _through_the_door(code: str) -> tuple[str, str]:
    """`code` as it may go to ngspice, empty where it is left out, and why it may not, empty where it may."""
    head = code.split(" ", 1)[0].lower()
    word = re.sub(r"(?<=\w)\W.*", "", head) if head.startswith(".") else head
    if word.startswith("."):
        if word in LEFT_OUT:
            return "", ""
        if word not in KEPT:
            return "", _unknown_card(word)
        code = f"{KEPT[word]} {code[len(word) :].lstrip()}".rstrip()
        if KEPT[word] == ".options":
            code, fault = _options(code)
            if fault:
                return "", fault
        elif KEPT[word] == ".param":
            code = _params(code)
    elif not ("a" <= word[:1] <= "z"):
        return "", f"an element's name begins with a letter, not with '{word[:1]}'"
    elif len(code.split()) < (2 if word[0] == "x" else 3):  # ngspice takes what is not there for nodes without a word
        return "", f"'{word}' has too few nodes"
    if "`" in code:
        return "", "a back quote, with which ngspice runs commands; delete it"
    return code, _CHECKS.get(KEPT.get(word, ""), lambda _: "")(code)


def _unknown_card(word: str) -> str:
    return unknown_name(word, dict.fromkeys([*KEPT, *LEFT_OUT, ".include", ".lib"]), "there is no card")


def _subckt_fault(code: str) -> str:
    return "" if len(code.split(" ", 2)) > 1 else "a .subckt is written as .subckt NAME PINS"


def _model_fault(code: str) -> str:
    words = re.split(r"[\s(]+", code.lower(), maxsplit=3)
    if len(words) < 3 or not words[2]:
        return "a .model is written as .model NAME TYPE (PARAMETERS)"
    kind = words[2].strip("()")
    return "" if kind in MODELS else (
        f"models of type '{kind}' are not among those that only compute; others may read or write files"
    )  # fmt: skip


_CHECKS = {".subckt": _subckt_fault, ".model": _model_fault}


def _options(code: str) -> tuple[str, str]:
    """`code` without what only concerns printing and saving, and what is wrong with it: an option that is not known."""
    kept = []
    for name, text in option_pairs(code):
        if name in OPTIONS:
            kept.append(f"{name}={text}" if text else name)
        elif name not in OPTIONS_LEFT_OUT:
            return "", unknown_name(name, dict.fromkeys(sorted(OPTIONS)), "there is no option")
    return f".options {' '.join(kept)}" if kept else "", ""


def _params(code: str) -> str:
    """`code` with blanks between its assignments, where commas may stand: at those ngspice 39 goes on for ever."""
    pairs = [f"{name}={code[start:stop]}" for name, start, stop in assignments(code)]
    return f".param {' '.join(pairs)}" if pairs and not PARAM_FUNCTION.match(code) else code


def option_pairs(code: str) -> list[tuple[str, str]]:
    """Names, lower-case, and values (empty for a flag) of an ``.options`` statement."""
    rest = re.sub(r"\s?=\s?", "=", code.replace(",", " ").replace("(", " ").replace(")", " "))
    pairs = (word.partition("=") for word in split_words(rest)[1:])
    return [(name.lower(), text) for name, _, text in pairs]


def masked(code: str) -> str:
    """`code` with what stands in braces and quotes replaced by ``x``, letter for letter."""
    parts, at, depth, quote = [], 0, 0, ""
    for match in re.finditer(r"[{}'\"]", code):
        char, opaque = match.group(), depth > 0 or bool(quote)
        parts.append("x" * (match.start() - at) if opaque else code[at : match.start()])
        parts.append("x")
        at = match.end()
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        else:
            depth = max(depth + (1 if char == "{" else -1), 0)
    parts.append("x" * (len(code) - at) if depth or quote else code[at:])
    return "".join(parts)


def split_words(code: str) -> list[str]:
    """Words of `code`, split at blanks outside braces and quotes."""
    if "{" not in code and "'" not in code and '"' not in code:
        return code.split()
    words, at = [], 0
    for match in re.finditer(" ", masked(code)):
        words.append(code[at : match.start()])
        at = match.end()
    return [word for word in [*words, code[at:]] if word]


def assignments(code: str) -> Iterator[tuple[str, int, int]]:
    """Name, start and stop of the value of each ``name=value`` in `code`."""
    matches = list(_NAME.finditer(masked(code)))
    for match, after in zip(matches, [*matches, None][1:], strict=True):
        raw = code[match.end() : after.start() if after else len(code)]
        start = match.end() + len(raw) - len(raw.lstrip(" ,"))
        yield match.group(1), start, max(match.end() + len(raw.rstrip(" ,")), start)


def rendered(statements: Sequence[Statement]) -> tuple[Line, ...]:
    """The deck that ngspice reads, a line a statement, each with the place it came from."""
    return (
        Line("* bruno"),
        *(s.line if s.line.text == s.code else replace(s.line, text=s.code) for s in statements),
        Line(".end"),
    )


def deck_text(lines: Sequence[Line]) -> str:
    """The text of rendered lines."""
    return "\n".join(line.text for line in lines) + "\n"


def with_options(lines: Sequence[Line], options: Mapping[str, float | str]) -> tuple[Line, ...]:
    """Rendered `lines` with simulator options set; their own settings of the same names are taken out."""
    changed = [line for line in (_without_options(line, options) for line in lines[1:]) if line is not None]
    added = Line(".options " + " ".join(f"{name}={value}" for name, value in options.items()))
    return (lines[0], added, *changed)


def _without_options(line: Line, names: Collection[str]) -> Line | None:
    if not line.text.startswith(".options "):
        return line
    kept = [f"{name}={text}" if text else name for name, text in option_pairs(line.text) if name not in names]
    return replace(line, text=" ".join([".options", *kept])) if kept else None
