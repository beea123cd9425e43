"""GRU and LSTM, torch's, in float: rivals that are no spiking neurons, with the same readout.

    LSTM   i, f, o = sigmoid(W x + U h + b),  g = tanh(W x + U h + b),   c' = f c + i g,   h' = o tanh(c')
    GRU    r, z = sigmoid(W x + U h + b),     n = tanh(W x + b + r (U h + b')),            h' = (1 - z) n + z h

Source: Hochreiter & Schmidhuber 1997, Neural Computation 9(8), with the forget gate of Gers, Schmidhuber, Cummins 2000,
Neural Computation 12(10); Cho et al. 2014, EMNLP (arXiv 1406.1078), with the reset behind the matrix as torch has it.
"""

from torch import Tensor, nn

from bruno_spice.training.neurons.kinds import NeuronKind


class GatedLayer(nn.Module):
    """GRU or LSTM, weights in float: a rival, not a circuit."""

    def __init__(self, cell: type[nn.GRU] | type[nn.LSTM], n_in: int, width: int) -> None:
        super().__init__()
        self.cell = cell(n_in, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """Hidden values (T, B, N)."""
        hidden: Tensor = self.cell(inputs)[0]
        return hidden


GRU = NeuronKind("GRU", gated=lambda n_in, width: GatedLayer(nn.GRU, n_in, width))
LSTM = NeuronKind("LSTM", gated=lambda n_in, width: GatedLayer(nn.LSTM, n_in, width))
