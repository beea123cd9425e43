"""Simple models of a piano roll, the floors of the chorales task: they know no more than the previous frame.

    marginal   p_k = mean of x_k over the training frames
    Markov     p_k = mean of x_k(t+1) given x_k(t), key by key
    logistic   p(t+1) = sigmoid(W x(t) + b), L2 penalty chosen on the validation part

All give probabilities (frames, keys) for the frames 1... of each piece.
"""

import numpy as np
import torch
from numpy.typing import NDArray

Roll = NDArray[np.float64]
"""Frames by keys."""

PRIOR_COUNT = 1.0
PENALTIES = (2.0, 8.0)


def logit(p: Roll) -> Roll:
    """Log odds of `p`."""
    return np.log(p) - np.log1p(-p)


def marginal(before: Roll, after: Roll, query: Roll) -> Roll:
    """Logits for `query` (n, keys) from the rates of `after` (m, keys), with one imagined frame of each kind."""
    rate = (after.sum(0) + PRIOR_COUNT) / (len(after) + 2 * PRIOR_COUNT)
    return np.broadcast_to(logit(rate), query.shape)


def markov(before: Roll, after: Roll, query: Roll) -> Roll:
    """Logits for `query` from the rates of `after` given the same key in `before`."""

    def rate(given: Roll) -> Roll:
        return ((given * after).sum(0) + PRIOR_COUNT) / (given.sum(0) + 2 * PRIOR_COUNT)

    return np.where(query > 0, logit(rate(before)), logit(rate(1 - before)))


def logistic(before: Roll, after: Roll, query: Roll, penalty: float) -> Roll:
    """Logits for `query` of a logistic regression of `after` on `before` with `penalty`/2 |W|^2.

    Keys that never sound in `after` keep their marginal rate; keys that never sound in `before` carry no weight.
    """
    heard, sounding = before.any(0), after.any(0)
    x, y = torch.from_numpy(before[:, heard]), torch.from_numpy(after[:, sounding])
    rate = (y.sum(0) + PRIOR_COUNT) / (len(y) + 2 * PRIOR_COUNT)
    weight = torch.zeros(x.shape[1], y.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.logit(rate).clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=50, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        data = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight + bias, y, reduction="sum")
        objective = (data + penalty / 2 * (weight**2).sum()) / len(y)
        objective.backward()
        return objective

    optimizer.step(closure)
    logits = marginal(before, after, query).copy()
    logits[:, sounding] = (torch.from_numpy(query[:, heard]) @ weight + bias).detach().numpy()
    return logits
