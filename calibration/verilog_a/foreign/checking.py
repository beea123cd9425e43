"""What a Verilog-A model says that OpenVAF does not take, or takes and means otherwise: by file, line and name.

*Counted once*: contributions of the same ``ddt(...)`` to the same branch, with others between them, count as one.

*Hidden state*: a variable that is read before it is surely written keeps, in the language, what it had at the time
before. OpenVAF forgets it: at each evaluation it is what ``@(initial_step)`` made it, or zero. Written in
``@(initial_step)`` alone it is a constant, which holds. Surely written: on every path through the code, where the
branches of an ``if`` of the same condition count as one, and a loop whose bounds are numbers runs.
Source: tried in VACASK with OpenVAF 23.5; Verilog-AMS 2.4, section 4.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bruno_spice.calibration.verilog_a.foreign.declared import (
    DIRECTIONS,
    TOO_DEEP,
    VARIABLES,
    Module,
    declared_names,
    matching,
    read_modules,
    statement_end,
    until,
)
from bruno_spice.calibration.verilog_a.foreign.source import Token, shown
from bruno_spice.devices.errors import InputError

UNSUPPORTED = {
    "transition": "write the edge as a smooth function of what drives it",
    "slew": "limit the slope by a capacitor that a limited current charges",
    "last_crossing": "find the crossing in the waveform",
    "laplace_nd": "write the filter as nodes with ddt()", "laplace_np": "write the filter as nodes with ddt()",
    "laplace_zd": "write the filter as nodes with ddt()", "laplace_zp": "write the filter as nodes with ddt()",
    "zi_nd": "a sampled filter needs another simulator", "zi_np": "a sampled filter needs another simulator",
    "zi_zd": "a sampled filter needs another simulator", "zi_zp": "a sampled filter needs another simulator",
    "$random": "make the spread a parameter and vary that", "$arandom": "make the spread a parameter and vary that",
    "$table_model": "write the table as a function",
    "noise_table": "write the noise as white_noise() and flicker_noise()", "$realtime": "write $abstime",
    "genvar": "write the loop out",
}  # fmt: skip
FILES = re.compile(
    r"\$(f(open|close|strobe|write|display|monitor|debug|getc|gets|scanf|seek|tell|error|flush|rewind)|readmem[bh]|system)"
)
RANDOM = re.compile(r"\$(r?dist)_\w+")
EVENTS = ("initial_step", "final_step")
"""Those that are taken."""
ACCESS = ("V", "I", "Temp", "Pwr", "potential", "flow")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, what kind (``unsupported`` or ``hidden state``), the name, and the sentence."""

    where: str
    kind: str
    name: str
    sentence: str


def check(path: Path) -> list[Finding]:
    """Everything found in the file at `path`, in the order of the file. Raises `InputError` where it cannot be read."""
    modules, tokens = read_modules(path)
    try:
        return _checked(modules, tokens)
    except RecursionError:
        raise InputError(f"{path}: {TOO_DEEP}") from None


def _checked(modules: Sequence[Module], tokens: Sequence[Token]) -> list[Finding]:
    found = [*_unsupported(tokens), *_arrays(tokens)]
    for module in modules:
        for token in module.others:
            advice = "write what it does in one analog block"
            sentence = f"{token.text} outside of the analog block, which is no declaration; {advice}"
            found.append(Finding(token.where, "unsupported", token.text, sentence))
        found += _Flow(module).findings()
        for block in module.analog:
            found += _counted_once(block)
    order = {token.where: i for i, token in reversed(list(enumerate(tokens)))}
    return sorted(found, key=lambda finding: order.get(finding.where, 0))


def _unsupported(tokens: Sequence[Token]) -> Iterator[Finding]:
    for i, token in enumerate(tokens):
        following = tokens[i + 1].text if i + 1 < len(tokens) else ""
        advice = UNSUPPORTED.get(token.text)
        if advice and (following == "(" or token.text.startswith("$") or token.text == "genvar"):
            yield Finding(token.where, "unsupported", token.text, f"{token.text}; {advice}")
        elif RANDOM.fullmatch(token.text):
            yield Finding(token.where, "unsupported", token.text, f"{token.text}; {UNSUPPORTED['$random']}")
        elif FILES.fullmatch(token.text):
            advice = "a model of a device reads and writes no files and runs no programs"
            yield Finding(token.where, "unsupported", token.text, f"{token.text}; {advice}")
        elif token.text == "@" and following == "(":
            end = matching(tokens, i + 1)
            at = i + 2
            while at < end - 1:
                if tokens[at].kind == "name" and tokens[at].text not in EVENTS:
                    event = f"@({tokens[at].text})"
                    advice = "let a smooth function of the voltage do what the event does"
                    yield Finding(tokens[at].where, "unsupported", event, f"{event}; {advice}")
                at = until(tokens, at, ("or", ",")) + 1
        elif token.text in ACCESS and following == "(":
            end = matching(tokens, i + 1)
            said = {t.text for t in tokens[end : until(tokens, end)]}
            before = {t.text for t in tokens[_statement_start(tokens, i) : i]}
            if tokens[end : end + 1] and tokens[end].text == ":" and "==" in said and not {"=", "<+"} & (said | before):
                advice = "solve for the contribution, or add a node whose current is the equation"
                yield Finding(token.where, "unsupported", "indirect branch", f"an indirect branch; {advice}")


def _arrays(tokens: Sequence[Token]) -> Iterator[Finding]:
    """A name with a bracket that is no range of a parameter: declared as array or bus, wherever that may be."""
    seen: set[str] = set()
    for i, token in enumerate(tokens):
        if token.text == "module":
            seen = set()
        before = tokens[i - 1] if i else token
        if token.text == "[" and before.text not in ("from", "exclude"):
            behind = tokens[min(matching(tokens, i), len(tokens) - 1)]
            named = before if before.kind == "name" and before.text not in (*VARIABLES, *DIRECTIONS) else behind
            if named.text not in seen:
                seen.add(named.text)
                advice = "write its elements as names of their own"
                yield Finding(named.where, "unsupported", named.text, f"the array {named.text}; {advice}")


def _counted_once(tokens: Sequence[Token]) -> Iterator[Finding]:
    """The same ``ddt`` contributed to one branch again."""
    seen: dict[tuple[str, str], Token] = {}
    for i, token in enumerate(tokens):
        if token.text != "<+":
            continue
        branch = shown(tokens[_statement_start(tokens, i) : i])
        end = until(tokens, i)
        for k in range(i, end):
            if tokens[k].text == "ddt" and k + 1 < end:
                text = shown(tokens[k : matching(tokens, k + 1)])
                first = seen.setdefault((branch, text), tokens[k])
                if first is not tokens[k] and first.line != tokens[k].line:
                    advice = "OpenVAF counts it once; contribute one ddt of the sum"
                    where = f"{text} goes to {branch} at {first.where} already"
                    yield Finding(tokens[k].where, "counted once", text, f"{where}: {advice}")


def _statement_start(tokens: Sequence[Token], at: int) -> int:
    while at > 0 and tokens[at - 1].text not in (";", "begin", "end", "else", "analog"):
        at -= 1
    return at


@dataclass(frozen=True)
class _Known:
    """What is surely written at a point: always, and under a condition that was met before, by its text."""

    always: frozenset[str] = frozenset()
    under: tuple[tuple[str, frozenset[str]], ...] = ()

    def wrote(self, *names: str) -> "_Known":
        """With `names` written; what was known under a condition on one of them is not any more."""
        under = tuple(each for each in self.under if not set(names) & set(re.findall(r"\w+", each[0])))
        return _Known(self.always | set(names), under)

    def inside(self, condition: str) -> "_Known":
        """Within a branch of `condition`."""
        more = next((names for text, names in reversed(self.under) if text == condition), frozenset())
        return _Known(self.always | more, self.under)


@dataclass
class _Flow:
    """The paths through a module's analog code."""

    module: Module
    read_early: dict[str, Token] = field(default_factory=dict)
    written: dict[str, Token] = field(default_factory=dict)
    """Variables that are written outside ``@(initial_step)``."""
    names: set[str] = field(default_factory=set)

    def findings(self) -> list[Finding]:
        """Hidden state, a finding a variable, at its first early read."""
        self.names = set(self.module.variables)
        for tokens in self.module.analog:
            self.names |= {name.text for name in _inner_declarations(tokens)}
        known = _Known()
        for tokens in self.module.analog:
            known = self._statement(tokens, 0, known)[1]
        return [
            Finding(
                token.where, "hidden state", name,
                f"{name} is read before it is surely written ({self.written[name].where} writes it later): OpenVAF "
                "forgets it at each evaluation; make it the voltage of a node with ddt(), or write it on every path",
            )
            for name, token in self.read_early.items() if name in self.written
        ]  # fmt: skip

    def _reads(self, tokens: Sequence[Token], known: _Known) -> _Known:
        """What an expression reads, and what functions in it write."""
        outputs: list[str] = []
        skip: set[int] = set()
        for i, token in enumerate(tokens):
            function = self.module.functions.get(token.text)
            if function and i + 1 < len(tokens) and tokens[i + 1].text == "(":
                end, at, k = matching(tokens, i + 1), i + 2, 0
                while at < end - 1:
                    stop = min(until(tokens, at, (",",)), end - 1)
                    if (
                        k < len(function.written)
                        and function.written[k]
                        and stop == at + 1
                        and tokens[at].text in self.names
                    ):
                        outputs.append(tokens[at].text)
                        skip.add(at)
                        self.written.setdefault(tokens[at].text, tokens[at])
                    at, k = stop + 1, k + 1
        for i, token in enumerate(tokens):
            if i not in skip and token.text in self.names and token.text not in known.always:
                self.read_early.setdefault(token.text, token)
        return known.wrote(*outputs)

    def _statement(self, tokens: Sequence[Token], at: int, known: _Known) -> tuple[int, _Known]:
        """The statement at `at`: the index behind it and what is surely written then."""
        end = statement_end(tokens, at)
        if at >= len(tokens):
            return end, known
        text = tokens[at].text
        if text == "begin":
            return end, self._block(tokens, at + 1, end - 1, known)
        if text == "initial":
            return end, self._statement(tokens, at + 1, known)[1]
        if text == "@":
            return end, self._event(tokens, at, end, known)
        if text == "if":
            return end, self._if(tokens, at, known)
        if text in ("case", "casex", "casez"):
            return end, self._case(tokens, at, end, known)
        if text in ("for", "while", "repeat"):
            return end, self._loop(tokens, at, known)
        if text in VARIABLES:
            return end, known
        return end, self._simple(tokens[at : end - 1], known)

    def _block(self, tokens: Sequence[Token], at: int, end: int, known: _Known) -> _Known:
        if at < end and tokens[at].text == ":":
            at += 2
        inner = tokens[:end]
        while at < end:
            at, known = self._statement(inner, at, known)
        return known

    def _event(self, tokens: Sequence[Token], at: int, end: int, known: _Known) -> _Known:
        body = matching(tokens, at + 1)
        event = {t.text for t in tokens[at + 2 : body]}
        if event & {"initial_step"}:
            before = dict(self.written)
            self._statement(tokens[:end], body, known)
            self.written = before  # what is written here alone is a constant
            return known
        self._statement(tokens[:end], body, known)
        return known

    def _if(self, tokens: Sequence[Token], at: int, known: _Known) -> _Known:
        yes_at = matching(tokens, at + 1)
        condition = shown(tokens[at + 2 : yes_at - 1])
        known = self._reads(tokens[at + 2 : yes_at - 1], known)
        negated = f"!({condition})"
        no_at, yes = self._statement(tokens, yes_at, known.inside(condition))
        no = known.inside(negated)
        if no_at < len(tokens) and tokens[no_at].text == "else":
            no = self._statement(tokens, no_at + 1, no)[1]
        both = tuple(each for each in yes.under if each in no.under)
        return _Known(yes.always & no.always, (*both, (condition, yes.always), (negated, no.always)))

    def _case(self, tokens: Sequence[Token], at: int, end: int, known: _Known) -> _Known:
        at_item = matching(tokens, at + 1)
        known = self._reads(tokens[at + 2 : at_item - 1], known)
        branches, default = [], False
        while at_item < end - 1:
            if tokens[at_item].text == "default":
                default = True
                at_item += 1 + (tokens[at_item + 1].text == ":")
            else:
                colon = until(tokens, at_item, (":",))
                self._reads(tokens[at_item:colon], known)
                at_item = colon + 1
            at_item, branch = self._statement(tokens[: end - 1], at_item, known)
            branches.append(branch.always)
        if not branches or not default:
            return known
        return _Known(frozenset.intersection(*branches), known.under)

    def _loop(self, tokens: Sequence[Token], at: int, known: _Known) -> _Known:
        body = matching(tokens, at + 1)
        head = tokens[at + 2 : body - 1]
        runs = False
        if tokens[at].text == "for":
            parts = _split(head, ";")
            known = self._simple(parts[0], known) if parts else known
            known = self._reads(parts[1], known) if len(parts) > 1 else known
            runs = len(parts) > 1 and bool(parts[0]) and parts[0][-1].kind == "number" and any(
                t.kind == "number" for t in parts[1]
            )  # fmt: skip
        else:
            known = self._reads(head, known)
            runs = tokens[at].text == "repeat" and len(head) == 1 and head[0].kind == "number"
        after = self._statement(tokens, body, known)[1]
        if tokens[at].text == "for" and len(parts) > 2:
            self._simple(parts[2], after)
        return _Known(after.always, known.under) if runs else known

    def _simple(self, tokens: Sequence[Token], known: _Known) -> _Known:
        """An assignment, a contribution or a task."""
        if len(tokens) > 1 and tokens[0].text in self.names and tokens[1].text == "=":
            known = self._reads(tokens[2:], known)
            self.written.setdefault(tokens[0].text, tokens[0])
            return known.wrote(tokens[0].text)
        return self._reads(tokens, known)


def _inner_declarations(tokens: Sequence[Token]) -> Iterator[Token]:
    for i, token in enumerate(tokens):
        begins = i > 0 and tokens[i - 1].text in (";", "begin", ":")
        behind_label = i > 1 and tokens[i - 2].text == ":"
        if token.text in VARIABLES and (begins or behind_label):
            yield from declared_names(tokens[i + 1 : until(tokens, i)])


def _split(tokens: Sequence[Token], sign: str) -> list[list[Token]]:
    parts, at = [], 0
    while at <= len(tokens):
        end = until(tokens, at, (sign,))
        parts.append(list(tokens[at:end]))
        at = end + 1
    return parts
