"""One self-contained HTML page of headed sections: text, zoomable plotly figures, pictures and tables."""

import base64
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from bruno_spice.devices.files import write_atomic

DIGITS = "0123456789+-–"


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows of ready-made cells."""

    caption: str
    header: list[str]
    rows: list[list[str]]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers in more than half of the cells that are filled."""
        columns = [[cell for cell in column if cell] for column in zip(*self.rows, strict=True)]
        shares = [sum(cell[0] in DIGITS for cell in column) / max(len(column), 1) for column in columns]
        return [share > 0.5 for share in shares] or [False] * len(self.header)

    @property
    def pairs(self) -> bool:
        """Whether it is a list of names with a value each, which has no header."""
        return not any(self.header)


@dataclass(frozen=True)
class Picture:
    """A PNG file that is embedded."""

    path: Path
    alt: str

    @property
    def base64(self) -> str:
        """The file's content for a data URL."""
        return base64.b64encode(self.path.read_bytes()).decode()


@dataclass(frozen=True)
class PlotlyFigure:
    """A zoomable figure; `low` makes it less tall."""

    figure: go.Figure
    low: bool = False

    @property
    def json(self) -> Markup:
        """The figure as JSON that is safe within a script element."""
        return Markup(self.figure.to_json().replace("</", "<\\/"))


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it."""

    heading: str
    text: str = ""
    plotly: list[PlotlyFigure] = field(default_factory=list)
    images: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def write_page(path: Path, title: str, lead: str, sections: list[Section]) -> Path:
    """Write the page to `path`; scripts are embedded, so that it opens anywhere, without a network."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bruno_spice.calibration.presentation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    plotly_js = Markup(get_plotlyjs()) if any(section.plotly for section in sections) else ""
    template = environment.get_template("report.html.j2")
    return write_atomic(path, template.render(title=title, lead=lead, sections=sections, plotly_js=plotly_js))
