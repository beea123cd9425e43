"""Options that several commands of training share."""

from typing import Annotated

import typer

TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust-code", help="Run the Python file that the configuration names as its task; it can do anything."
    ),
]
