"""BRUNO's way back through a macro step: one implicit Euler step, from where the fine integration ended.

    x' = x + h f(x', I)                           x = (V, p_1 ... p_K), x' from the fine integration, h up to there
    mu = (1 - h A)^-T lam',   A = df/dx at x'     lam = mu,   dL/dI = h mu^T df/dI,   dL/dc = h mu^T df/dc

The explicit step takes what a current brings into the membrane to stay there. On the plateau the film takes it within
microseconds, which the implicit step knows, as it looks at the slopes where the millisecond ends: no clamp is needed,
and tau need not be detached. A has one field for all domains, so that the solution is a sum over them: with

    b_k = w_k V_PER_P,   s_k = df_k/dE,   r_k = -df_k/dp_k at constant field
    d_k = mu_k - b_k mu_V,   S = sum_k s_k d_k
    mu_V (1 + h l) = lam_V + h K_CAP S            l: slope of leak and inhibition by V, m by polarization
    mu_k = lam_k - h r_k d_k - h w_k (K_POL S + m mu_V)

Source: backward Euler, differentiated at its end, e.g. Hairer and Wanner, *Solving ODEs II* (1996), IV.8; BRUNO itself:
Fehlings et al., arXiv 2505.17791, whose explicit step is `training.dynamics.step_back.coarse_jacobian`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bruno_spice.training.dynamics.laws import at_membrane, switching


class Through(NamedTuple):
    """Adjoints before an implicit step, (B, N) or (K, B, N)."""

    v: Tensor
    p: Tensor
    by_i: Tensor
    """dL/dI in 1/A."""


def implicit_back(
    law: Any, x: Any, v: Tensor, p: Tensor, i_a: Tensor, h_ms: Tensor, lam_v: Tensor, lam_p: Tensor
) -> Through:
    """From the adjoints lam (B, N) and (K, B, N) at V, p, the end of a step of `h_ms` (B, N) under `i_a` (B, N).

    `law` and `x` are those of the model, all domains at once (`training.dynamics.laws.stacked`).
    """
    turned = (x.weight * p).sum(0)
    here, per_v = at_membrane(law, x, v, turned)
    field = x.k_cap * v - x.k_pol * turned - x.offset
    sign, rate, back = switching(law, x, field)
    size = torch.maximum(law.softened(field.abs(), x), x.smallest)
    by_field = rate * ((1.0 - sign * p - back) * law.steepness(size, x) - law.back_slope(size, x)).clamp(min=0.0)

    inhibited = i_a < 0.0
    loss = x.drive * (law.leak_slope(here, x) - torch.where(inhibited, i_a * law.compliance_slope(here, x), 0.0))
    loss = h_ms * loss * per_v
    passing = x.drive * torch.where(inhibited, law.compliance(here, x), 1.0)

    kept, held = 1.0 / (1.0 + loss), 1.0 / (1.0 + h_ms * rate)
    charge = x.v_per_p * x.weight
    seen = charge + (loss * law.terminal_by_p(v, turned, x) * x.weight if law.model.TERMINAL else 0.0)
    alone = held * (lam_p - seen * kept * lam_v)
    by_all = held * h_ms * (x.k_pol * x.weight + seen * kept * x.k_cap)
    common = (by_field * alone).sum(0) / (1.0 + (by_field * by_all).sum(0))
    mu_v = kept * (lam_v + h_ms * x.k_cap * common)
    return Through(mu_v, alone - by_all * common + charge * mu_v, h_ms * passing * mu_v)
