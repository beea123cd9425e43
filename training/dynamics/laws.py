"""The laws of a neuron model on tensors (`devices.models.laws`)."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from bruno_spice.devices.ferroelectric.bound import bind, row, row_of
from bruno_spice.devices.models.rows import DOMAINS_FROM, GROUPS, domain_count, group_of


def _maximum(a: Any, b: Any) -> Any:
    return torch.maximum(a, b) if isinstance(b, Tensor) else a.clamp(min=b)


def _minimum(a: Any, b: Any) -> Any:
    return torch.minimum(a, b) if isinstance(b, Tensor) else a.clamp(max=b)


TORCH = {
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log1p": torch.log1p,
    "tanh": torch.tanh,
    "power": torch.pow,
    "absolute": torch.abs,
    "where": torch.where,
    "maximum": _maximum,
    "minimum": _minimum,
}


@cache
def torch_laws(model: Any) -> Any:
    """The laws of `model` as functions of tensors, by name; ``.model`` is that model."""
    laws = bind(model, TORCH)
    laws.model = model
    return laws


def rows_of(law: Any, constants: Tensor) -> list[Any]:
    """`x` of each of the K domains, out of `constants` (R, ...)."""
    return [row_of(law.model, constants, k) for k in range(domain_count(len(constants)))]


def polarization(rows: list[Any], p: Tensor) -> Tensor:
    """sum_k w_k p_k (...) of `p` (K, ...)."""
    total = rows[0].weight * p[0]
    for x, each in zip(rows[1:], p[1:], strict=True):
        total = total + x.weight * each
    return total


def at_membrane(law: Any, x: Any, v: Tensor, polarization: Tensor) -> tuple[Tensor, Tensor | float]:
    """Voltage at the membrane and its slope by the film's V (...), at sum_k w_k p_k (...)."""
    if not law.model.TERMINAL:
        return v, 1.0
    return law.terminal(v, polarization, x), law.terminal_slope(v, polarization, x)


def field(rows: list[Any], v: Tensor, p: Tensor) -> Tensor:
    """E (...) in V/nm at V (...) and p (K, ...)."""
    x = rows[0]
    e: Tensor = x.k_cap * v - x.k_pol * polarization(rows, p)
    return e


def switching(law: Any, x: Any, here: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sign(E_k), r_k in 1/ms and d_k at the field `here` = E - Eoff_k in V/nm."""
    sign = torch.where(here >= 0.0, 1.0, -1.0)
    size = torch.maximum(law.softened(here.abs(), x), x.smallest)
    return sign, torch.exp(law.ln_rate(size, x)), law.back(size, x)


def stacked(law: Any, constants: Tensor) -> Any:
    """`x` of all domains at once, out of `constants` (R, n): shared rows (n,), those of domains (K, n)."""
    domains = domain_count(len(constants))
    groups = [constants[group_of(which, domains)] for which in GROUPS]
    return row(law.model)(*constants[:DOMAINS_FROM], *groups)


def flow(law: Any, x: Any, v: Tensor, p: Tensor, i_a: Tensor) -> Tensor:
    """dV/dt in V/ms and dp_k/dt in 1/ms, (1 + K, n), at V (n,) and p (K, n) under `i_a` (n,) in A; `x`: `stacked`."""
    turned = (x.weight * p).sum(0)
    sign, rate, back = switching(law, x, x.k_cap * v - x.k_pol * turned - x.offset)
    p_flow = sign * (1.0 - sign * p - back) * rate
    here, _ = at_membrane(law, x, v, turned)
    driven = i_a * torch.where(i_a < 0.0, law.compliance(here, x), 1.0)
    v_flow = x.drive * (driven - law.leak(here, x)) - x.v_per_p * (x.weight * p_flow).sum(0)
    return torch.cat([v_flow[None], p_flow])
