"""How a layer goes through a millisecond (`SOLVERS`), and how a gradient comes back (`GRADIENTS`), by name."""

from typing import TYPE_CHECKING, Any

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.registry import Registry

if TYPE_CHECKING:
    from bruno_spice.training.dynamics.gradients import Gradient
    from bruno_spice.training.dynamics.solvers import SolverInfo


def _gradient(found: Any) -> "Gradient":
    from bruno_spice.training.dynamics.gradients import Gradient

    if not isinstance(found, Gradient):
        raise InputError(f"a gradient is a training.dynamics.gradients.Gradient, not a {type(found).__name__}")
    return found


def _solver(found: Any) -> "SolverInfo":
    from bruno_spice.training.dynamics.solvers import SolverInfo

    if not isinstance(found, SolverInfo):
        raise InputError(f"a solver is a training.dynamics.solvers.SolverInfo, not a {type(found).__name__}")
    return found


GRADIENTS: "Registry[Gradient]" = Registry(
    "gradient",
    {
        "bruno": "bruno_spice.training.dynamics.gradients:BRUNO",
        "bruno-published": "bruno_spice.training.dynamics.gradients:BRUNO_PUBLISHED",
        "tangent": "bruno_spice.training.dynamics.gradients:TANGENT",
        "bptt": "bruno_spice.training.dynamics.gradients:BPTT",
        "checkpoint": "bruno_spice.training.dynamics.gradients:CHECKPOINT",
        "coarse": "bruno_spice.training.dynamics.gradients:COARSE",
    },
    _gradient,
    "GRADIENT",
)
SOLVERS: "Registry[SolverInfo]" = Registry(
    "solver",
    {
        "logistic": "bruno_spice.training.dynamics.solvers:LOGISTIC",
        "rosenbrock": "bruno_spice.training.dynamics.solvers:ROSENBROCK",
        "euler": "bruno_spice.training.dynamics.solvers:EULER",
    },
    _solver,
    "SOLVER",
)
