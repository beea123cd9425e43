"""The derivative of a law by everything it depends on, from the law's own text: reverse mode, statement by statement.

    out = law(v, x)   ->   by_v = pull.law(v, by_out, w, at, j),   BY of each row x.field += by_out d out/d x.field

A law is a few assignments and a ``return`` of arithmetic and of the functions of `devices.models.maths`. Its text is
taken apart into single operations, t_n = f(t_i, t_k), and gone through backwards, each handing its adjoint on by the
chain rule. So a law that a model spells has its derivatives by the model's parameters without being spelled again. At a
kink (`maximum`, `where`) the side that counts forward counts backward; conditions hand nothing on.

In single-precision SIMD code (`devices.ferroelectric.bound`), where the adjoints of the rows lie `BY` and `BY_DOMAIN`
beyond them. Source: Griewank & Walther, *Evaluating Derivatives*, SIAM 2008, chapter 3.
"""

import ast
import inspect
import textwrap
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from bruno_spice.devices.compiled import inlined
from bruno_spice.devices.ferroelectric.bound import Laws, tag, text_of
from bruno_spice.devices.ferroelectric.lanes import vector_math
from bruno_spice.devices.ferroelectric.lanes.rows import BLOCK, BY, BY_DOMAIN, GROUP_ROWS
from bruno_spice.devices.models import maths
from bruno_spice.devices.models.rows import domain_names, shared_names

PULLED = {name: (name,) for name in ("leak", "softened", "chord", "back", "terminal", "terminal_slope")} | {
    "leaks": ("leak", "leak_slope"),
    "rates": ("ln_rate", "steepness"),
}
"""The laws that a substep is made of; those of one argument that go together share what is alike in their texts."""
SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
RULES = {
    "+": ("{by}", "{by}"),
    "-": ("{by}", "-{by}"),
    "*": ("{by} * {1}", "{by} * {0}"),
    "/": ("{by} / {1}", "-{by} * {out} / {1}"),
    "negative": ("-{by}",),
    "exp": ("{by} * {out}",),
    "expm1": ("{by} * ({out} + ONE)",),
    "log1p": ("{by} / (ONE + {0})",),
    "tanh": ("{by} * (ONE - {out} * {out})",),
    "power": ("{by} * {1} * {out} / {0}", "{by} * {out} * log2({0}) * LN_2"),
    "absolute": ("{by} * where({0} >= ZERO, ONE, -ONE)",),
    "maximum": ("where({0} > {1}, {by}, ZERO)", "where({0} > {1}, ZERO, {by})"),
    "minimum": ("where({0} < {1}, {by}, ZERO)", "where({0} < {1}, ZERO, {by})"),
    "where": (None, "where({0}, {by}, ZERO)", "where({0}, ZERO, {by})"),
}
"""What an operation hands to each of its operands {0}, {1}, ..., from its result {out} and that one's adjoint {by}."""


class NotDifferentiated(Exception):
    """A law has something in its text that has no rule here."""


class _Reverse:
    """The text of laws of the same arguments as single operations forward, and the text of their adjoints."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        self.shared, self.domain = shared_names(model.own), domain_names(model.own_domain)
        self.forward: list[str] = []
        self.operations: list[tuple[str, str, list[str]]] = []
        self.rows: dict[str, str] = {}
        self.active: set[str] = set()
        self.done: dict[str, str] = {}
        self.arguments: list[str] = []
        self.named: dict[str, str] = {}
        self.outs = [self._value(model, name) for name in names]

    def _value(self, model: Any, name: str) -> str:
        """What the law returns, once its operations are noted."""
        self.law, self.out = f"{model.__name__}.{name}", "ZERO"
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(text_of(model, name)))))
        definition = tree.body[0]
        assert isinstance(definition, ast.FunctionDef)
        arguments = [each.arg for each in definition.args.args if each.arg != "x"]
        self.arguments = self.arguments or arguments
        self.named = dict(zip(arguments, self.arguments, strict=True))
        self.active |= set(self.arguments)
        for statement in definition.body:
            self._take(statement)
        return self.out

    def _take(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Return) and statement.value is not None:
            self.out = self._atom(statement.value)
        elif isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name):
            self.named[target.id] = self._atom(statement.value)
        elif isinstance(statement, ast.Assign) and isinstance(target, ast.Tuple):
            assert isinstance(statement.value, ast.Tuple)
            names = [each.id for each in target.elts if isinstance(each, ast.Name)]
            self.named |= dict(zip(names, [self._atom(each) for each in statement.value.elts], strict=True))
        elif not isinstance(statement, ast.Expr):
            raise NotDifferentiated(self._said(statement))

    def _said(self, node: ast.AST) -> str:
        return f"the law {self.law} says '{ast.unparse(node)}', which has no derivative in `{__name__}`"

    def _atom(self, node: ast.expr) -> str:
        """A name or number for `node`, whose operations have been noted."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return f"F({float(node.value)!r})"
        if isinstance(node, ast.Name):
            return self.named.get(node.id, node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "x":
            return self._row(node.attr)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = self._atom(node.left), self._atom(node.comparators[0])
            sign = ast.unparse(ast.Compare(ast.Name("a"), node.ops, [ast.Name("b")])).split()[1]
            return self._new(f"{left} {sign} {right}")
        if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
            sign, operands = SIGNS[type(node.op)], [self._atom(node.left), self._atom(node.right)]
            return self._note(sign, operands, f" {sign} ".join(operands))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            operand = self._atom(node.operand)
            return self._note("negative", [operand], f"-{operand}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in maths.NAMES:
            operands = [self._atom(each) for each in node.args]
            return self._note(node.func.id, operands, f"{node.func.id}({', '.join(operands)})")
        raise NotDifferentiated(self._said(node))

    def _new(self, text: str) -> str:
        if text not in self.done:
            self.done[text] = f"t_{len(self.forward)}"
            self.forward.append(f"{self.done[text]} = {text}")
        return self.done[text]

    def _note(self, operation: str, operands: list[str], text: str) -> str:
        known = text in self.done
        name = self._new(text)
        if not known and self.active & set(operands):
            self.active.add(name)
            self.operations.append((name, operation, operands))
        return name

    def _row(self, field: str) -> str:
        if field not in self.rows:
            if field in self.shared:
                at, by = f"{self.shared.index(field) * BLOCK}", BY
            else:
                at, by = f"{GROUP_ROWS[self.domain.index(field)]} + at", BY_DOMAIN
            self.rows[field] = self._new(f"w[{at} + j]")
            self.active.add(self.rows[field])
            self.operations.append((self.rows[field], f"w[{by} + {at} + j]", []))
        return self.rows[field]

    def text(self, name: str) -> str:
        """The function `name`: adjoints of the laws' arguments from those of their values."""
        givens = ["by"] if len(self.outs) == 1 else [f"by_{law}" for law in "abc"[: len(self.outs)]]
        handed: dict[str, list[str]] = {}
        for out, given in zip(self.outs, givens, strict=True):
            handed.setdefault(out, []).append(given)
        lines = list(self.forward)
        for number, (out, operation, operands) in enumerate(reversed(self.operations)):
            if out not in handed:
                continue
            if not operands:
                lines.append(f"{operation} += {' + '.join(handed[out])}")
                continue
            by = f"by_{number}"
            lines.append(f"{by} = {' + '.join(handed[out])}")
            for operand, rule in zip(operands, RULES[operation], strict=True):
                if rule is not None and operand in self.active:
                    handed.setdefault(operand, []).append(f"({rule.format(*operands, out=out, by=by)})")
        found = [" + ".join(handed.get(each, ["ZERO"])) for each in self.arguments]
        lines.append(f"return {', '.join(found)}")
        return f"def {name}({', '.join((*self.arguments, *givens, 'w', 'at', 'j'))}):\n" + textwrap.indent(
            "\n".join(lines), "    "
        )


@cache
def pulled_laws(model: Any, simd: bool = True) -> ModuleType:
    """The pull-backs of the laws of `model`, by the names of `PULLED`.

    Raises `NotDifferentiated` where a law has something else in its text than the above.
    """
    assert simd, "laws are pulled back in single precision only"
    module = ModuleType(f"pulled_{tag(model)}")
    numbers = {name: getattr(vector_math, name) for name in ("ZERO", "ONE", "LN_2", "log2", "F")}
    numbers |= {name: getattr(vector_math, name) for name in maths.NAMES if name != "absolute"} | {"absolute": abs}
    for name, laws in PULLED.items():
        around = {key: np.float32(value) if isinstance(value, float) else value for law in laws
                  for key, value in inspect.unwrap(text_of(model, law)).__globals__.items()} | numbers  # fmt: skip
        exec(compile(_Reverse(model, laws).text(name), f"<{module.__name__}>", "exec"), around)
        setattr(module, name, inlined(around[name]))
    return module


def undifferentiated(model: Any) -> str | None:
    """What of the laws of `model` cannot be pulled back, as a sentence; None: nothing."""
    try:
        pulled_laws(model)
    except NotDifferentiated as error:
        return str(error)
    return None


pull: Any = Laws("pull", pulled_laws)
"""In a template, the pull-backs of the laws of the model that it is compiled for."""
