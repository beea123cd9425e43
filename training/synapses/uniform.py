"""The uniform quantiser of Fehlings et al., arXiv 2505.17791: symmetric, scale = max |w|, stochastic rounding."""

from typing import Any

from torch import Tensor

from bruno_spice.devices.errors import InputError
from bruno_spice.training.synapses.base import Synapse, round_levels, straight_through
from bruno_spice.training.synapses.kinds import MakeSynapse, SynapseKind


class UniformLinear(Synapse):
    """The paper's quantiser: 2**bits - 1 symmetric levels on the largest weight. `bits` from 2 on.

    `stochastic` rounding acts in training only.
    """

    def __init__(self, n_in: int, n_out: int, bits: int = 3, stochastic: bool = True) -> None:
        super().__init__(n_in, n_out)
        if bits < 2:
            raise InputError(f"the uniform quantiser needs at least 2 bits, not {bits}: one is the sign")
        self.highest = 2 ** (bits - 1) - 1
        self.stochastic = stochastic

    def effective_weight(self) -> Tensor:
        """The quantised weights."""
        latent = self.weight
        step = latent.detach().abs().max().clamp(min=1e-12) / self.highest
        level = round_levels(latent.detach() / step, self.stochastic and self.training)
        return straight_through(latent, level.clamp(-self.highest, self.highest) * step)


def _maker(config: Any, _: Any) -> MakeSynapse:
    return lambda n_in, n_out: UniformLinear(n_in, n_out, config.bits, config.rounding == "stochastic")


UNIFORM = SynapseKind("uniform", _maker)
