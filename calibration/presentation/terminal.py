"""The terminal: where text of others (cards, netlists, file names) is printed as it is and steers nothing."""

from typing import Any

from rich.console import Console
from rich.text import Text

from bruno_spice.devices.reading import printable


class Terminal(Console):
    """A console of `rich` that takes no markup out of strings and writes control characters out; style with `Text`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """`text` as it stands."""
        return super().render_str(printable(text), **options | {"markup": False, "emoji": False})


def output(width: int) -> Terminal:
    """Standard output; `width` characters wide where it is no terminal."""
    console = Terminal()
    return console if console.is_terminal else Terminal(width=width)
