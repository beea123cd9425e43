r"""Equations as MathML: what ``$...$`` and ``$$...$$`` held is turned into markup that browsers draw by themselves.

The arithmatex extension leaves ``\(...\)`` and ``\[...\]`` in elements of class ``arithmatex``; nothing is left to do
in the reader's browser, so that a page needs neither a script nor a network.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """The page with every equation as MathML."""
    return EQUATION.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    tag, bracket, latex = found.groups()
    display = "inline" if bracket == "(" else "block"
    markup = convert(html.unescape(latex).strip(), display=display)
    return f'<{tag} class="math-{display}">{markup}</{tag}>'
