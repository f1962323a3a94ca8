"""A report as one HTML file: nothing is loaded, nothing runs, what runs and their parts are called is text."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import esa
from esa.report.content import Report
from esa.report.pictures import Picture
from esa.report.plain import plain
from esa.report.svg import svg_of

MAX_IMAGE_BYTES = 4_000_000


def page(report: Report) -> str:
    """The whole file."""
    environment = Environment(
        loader=PackageLoader("esa.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["plain"] = lambda text: plain(text, 1000)
    numbers = iter(range(1_000_000))
    svg = {id(one): _svg(one, next(numbers)) for section in report.sections for one in section.pictures}
    images = {id(section): _image(section.image) for section in report.sections if section.image is not None}
    template = environment.get_template("page.html.j2")
    return template.render(report=report, svg=svg, images=images, version=esa.__version__, identity=id)


def _svg(picture: Picture, number: int) -> Markup:
    return Markup(svg_of(picture.draw, picture.what, number, picture.inches))  # names in it are escaped as XML


def _image(path: Path) -> str:
    """A PNG as an address that holds it; nothing where it is none."""
    octets = path.read_bytes() if path.stat().st_size <= MAX_IMAGE_BYTES else b""
    if not octets.startswith(b"\x89PNG\r\n"):
        return ""
    return f"data:image/png;base64,{base64.b64encode(octets).decode()}"
