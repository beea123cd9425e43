"""Options that several commands of training share."""

from typing import Annotated

import typer

TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-code",
        help="Run the Python files that the configuration names (task, neuron, ...); they can do anything.",
    ),
]
