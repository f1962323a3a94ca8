"""How docs/*.md become a site: `make docs`. Nothing is loaded from elsewhere: it reads the same without a network."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "ESA"
html_title = "ESA"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sphinx = False
smartquotes = False  # messages and code are quoted as they are
html_show_copyright = False
html_copy_source = False
pygments_style = "default"
pygments_dark_style = "github-dark"

myst_heading_anchors = 4

default_role = "code"  # docstrings put code in single marks
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True

_MARKED = re.compile(r"`+[^`]+`+")
_FIELD = re.compile(r"([A-Za-z_`][\w`, .*]*):\s+(\S.*)")


def _as_rst(docstring: list[str]) -> list[str]:
    """Return a docstring of this project as reStructuredText: code in single marks, keys with colons, indented code."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(docstring).strip("\n")):
        part = paragraph.split("\n")
        if part[0].lstrip().startswith(">>>"):
            lines += [line.strip() for line in part]
        elif part[0].startswith("- ") and all(line.startswith(("- ", "  ")) for line in part):
            lines += [_escaped(line) for line in part]
        elif len(fields := [line for line in part if _FIELD.match(line)]) > 1 and part[0] == fields[0]:
            lines += [_field(line) for line in part]
        elif any(line.startswith(" ") for line in part) or _is_code("\n".join(part)):
            lines += ["::", "", *("    " + line for line in part)]
        else:
            lines += [_escaped(line) for line in part]
        lines.append("")
    return lines


def _is_code(paragraph: str) -> bool:
    """Whether it is Python that calls or assigns, or a command: module docstrings open with how they are used."""
    if re.match(r"(python|esa|esactl|esa-switch) (-|[a-z])", paragraph):
        return True
    try:
        body = ast.parse(paragraph).body
    except SyntaxError:
        return False
    return any(isinstance(node, (ast.Assign, ast.With, ast.Call)) for line in body for node in ast.walk(line))


def _field(line: str) -> str:
    if found := _FIELD.match(line):
        return f":{found[1]}: {_escaped(found[2])}"
    return "    " + _escaped(line.strip())


def _escaped(line: str) -> str:
    """Keep what stands in code marks, and take from all else what reStructuredText would read as markup."""
    parts, end = [], 0
    for found in _MARKED.finditer(line):
        parts += [re.sub(r"([*|\\]|_\b)", r"\\\1", line[end : found.start()]), f"``{found[0].strip('`')}``"]
        end = found.end()
    return "".join([*parts, re.sub(r"([*|\\]|_\b)", r"\\\1", line[end:])])


def _docstring(app: Any, what: str, name: str, object_: Any, options: Any, lines: list[str]) -> None:
    lines[:] = _as_rst(lines)


def _unlink_folders(app: Any, doctree: nodes.document) -> None:
    """A link to a folder of the repository is one on a code host, and its name on the site."""
    here = Path(app.env.doc2path(app.env.current_document.docname)).parent
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = link.get("reftarget", "")
        if link.get("reftype") == "myst" and target and ((here / target).is_dir() or (ROOT / target).is_dir()):
            link.replace_self(link.children)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("doctree-read", _unlink_folders)
