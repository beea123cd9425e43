"""Arithmetic in a netlist, ``{2/freq}``: numbers with SPICE suffixes, parameters, + - * / ** and parentheses."""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from devices.errors import InputError
from devices.units import parse_spice_number

_NUMBER = re.compile(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?[a-z]*", re.IGNORECASE)
_OPERATORS: dict[type, Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def evaluate(text: str, values: Mapping[str, float]) -> float:
    """The value of `text`, with parameters by lower-case name. Raises `InputError` for what is no such arithmetic."""
    plain = _NUMBER.sub(lambda match: repr(parse_spice_number(match.group())), text.strip("{}'\" "))
    try:
        return _value(ast.parse(plain.lower(), mode="eval").body, values)
    except (SyntaxError, KeyError, ArithmeticError):
        raise InputError(f"'{text}' is no arithmetic on numbers and parameters") from None


def _value(node: Any, values: Mapping[str, float]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_value(node.operand, values))
    raise KeyError(ast.dump(node))
