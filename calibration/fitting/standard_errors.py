"""Standard errors of a least-squares fit.

Two covariances, of residuals r (N,) with slopes J (N, P) at the minimum:

    curvature    C = s^2 (J^T J)^-1,  s^2 = r^T r / (N - P)             as if all N residuals were independent
    clustered    C = t^2 M (sum_g J_g^T A_g r_g r_g^T A_g J_g) M        as if only the G groups of them were,
                 M = (J^T J)^-1,  A_g = (1 - J_g M J_g^T)^(-1/2)

The residuals of a compact model are its misfit: alike along a transient, independent at best between groups of them
(stimuli, devices). A_g undoes what the fit takes away of a group's misfit where that group weighs heavily; t is what
one standard deviation is with G - 1 degrees of freedom (Student). Of estimates over groups this one covers a known
truth in 68 % of the cases (`calibration.neuron.coverage`); leaving out one group after the other (A_g = 1 / (1 - J_g M
J_g^T)) is too wide for what few of them determine. Source: Bell & McCaffrey, Survey Methodology 28, 169 (2002);
Cameron & Miller, J. Human Resources 50, 317 (2015).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bruno_spice.calibration.errors import FitError

Array = NDArray[np.float64]
MAX_CONDITION = 1e10
"""Of the normal matrix with unit columns, above which the covariance counts as singular."""
FEWEST_GROUPS = 3
ALONE = 1e-6
"""Share of a direction in parameter space that all other groups together must determine."""


def jacobian(residual: Callable[[Array], Array], at: Array, step: float) -> Array:
    """Central differences in scaled coordinates, (residuals, parameters)."""
    columns = []
    for n in range(at.size):
        shift = np.zeros(at.size)
        shift[n] = step * max(abs(at[n]), 1.0)
        columns.append((residual(at + shift) - residual(at - shift)) / (2 * shift[n]))
    return np.stack(columns, axis=1)


def curvature(jacobian: Array, residual: Array, names: Sequence[str], what: str) -> Array:
    """Covariance in scaled coordinates; raises `FitError` that names what the data do not determine."""
    lengths = np.linalg.norm(jacobian, axis=0)
    for name, length in zip(names, lengths, strict=True):
        if not length > 1e-12 * lengths.max():
            raise FitError(f"{what}: the data do not depend on '{name}', so it has no standard error: fix it")
    normal = jacobian / lengths
    _, singular, directions = np.linalg.svd(normal, full_matrices=False)
    if singular[0] ** 2 > MAX_CONDITION * singular[-1] ** 2:
        first, second = (names[n] for n in np.argsort(-np.abs(directions[-1]))[:2])
        raise FitError(
            f"{what}: the covariance is singular; '{first}' and '{second}' cannot be told apart by these data: "
            f"fix one of them"
        )
    freedom = max(residual.size - len(names), 1)
    inverse = np.asarray(directions.T @ np.diag(singular**-2.0) @ directions)
    return inverse / np.outer(lengths, lengths) * float(residual @ residual) / freedom


def clustered(jacobian: Array, residual: Array, groups: NDArray[np.int_], names: Sequence[str], what: str) -> Array:
    """Covariance in scaled coordinates where only groups of residuals are independent of one another."""
    labels = np.unique(groups)
    if labels.size < FEWEST_GROUPS:
        raise FitError(
            f"{what}: {labels.size} group{'s' if labels.size > 1 else ''} of data cannot tell a standard error: "
            f"add data, at least {FEWEST_GROUPS} groups"
        )
    lengths = np.linalg.norm(jacobian, axis=0)
    _, singular, directions = np.linalg.svd(jacobian / lengths, full_matrices=False)
    root = directions.T / singular  # root root^T is the inverse of the normal matrix with unit columns
    shifts = []
    for label in labels:
        left, leverage, right = np.linalg.svd((jacobian[groups == label] / lengths) @ root, full_matrices=False)
        rest = 1.0 - leverage**2
        if rest.min() < ALONE:
            name = names[int(np.argmax(np.abs(root @ right[0])))]
            raise FitError(f"{what}: one group of data alone determines '{name}': fix it or add data")
        shifts.append(root @ (right.T @ (leverage / np.sqrt(rest) * (left.T @ residual[groups == label]))) / lengths)
    from scipy.stats import norm  # half a second, which who only asks for bounds does not wait for
    from scipy.stats import t as student

    one_sigma = student.ppf(norm.cdf(1.0), labels.size - 1)
    return np.asarray(one_sigma**2 * np.transpose(shifts) @ np.array(shifts))
