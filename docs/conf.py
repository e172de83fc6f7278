"""Settings of the documentation's site: ``sphinx-build -W --keep-going -b html docs FOLDER``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.special import TextLexer

from invdesign_core.errors import own_version

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "invdesign"
version = release = own_version()
copyright = "the authors of invdesign"
extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc", "sphinx_click"]
exclude_patterns = ["**/.*", "examples/*/*/**"]  # what tests and builds leave behind

default_role = "code"
maximum_signature_line_length = 100
smartquotes = False  # options begin with two hyphens

html_theme = "furo"
html_title = "invdesign"

myst_heading_anchors = 6  # as GitHub makes them, so that a link leads to the same place there and here
nb_execution_mode = "force"
nb_execution_excludepatterns = ["notebooks/tutorial.ipynb"]  # which the tests execute
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_output_stderr = "remove"  # what TensorFlow says of the processor

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"exclude-members": "model_config"}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

HEADING = re.compile(r"^#{1,2} (.+)$", re.M)
PAGE = re.compile(r"\]\((\w[\w./-]*\.(?:md|ipynb|rst))\)")
"""A link to another page in the same folder or below it."""


def add_toctrees(app: Sphinx, name: str, source: list[str]) -> None:
    """Make the table of contents of what an index lists, which GitHub shows as lists alone."""
    if not name.endswith("index"):
        return
    _, *parts = HEADING.split(source[0])
    seen: set[str] = set()
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        entries = [page for page in dict.fromkeys(PAGE.findall(text)) if page not in seen]
        seen.update(entries)
        if entries:
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *entries, "```", ""])


def remove_links_outside(app: Sphinx, name: str, source: list[str]) -> None:
    """Keep only the words of links to pages that are in the repository but not on the site."""
    folder = (Path(app.srcdir) / name).parent

    def kept(link: re.Match[str]) -> str:
        return link[0] if (folder / link[2]).resolve().is_relative_to(app.srcdir) else link[1]

    source[0] = re.sub(r"\[([^\]]+)\]\(([^)\s:#]+\.md)\)", kept, source[0])


def show_examples_as_code(app: Sphinx, context: object, lines: list[str]) -> None:
    """Show the examples of a command in the columns of its help, which come as lines of prose with a bar in front."""
    shown: list[str] = []
    for line in lines:
        if line.startswith("|   "):
            if not shown[-1].startswith("   "):
                shown += ["", ".. code-block:: text", ""]
            shown.append(line.replace("|", " ", 1))
        else:
            shown.append(line.removeprefix("| "))
    lines[:] = shown


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what is needed beside the extensions."""
    app.connect("source-read", add_toctrees)
    app.connect("source-read", remove_links_outside)
    app.connect("sphinx-click-process-description", show_examples_as_code)
    app.add_lexer("csv", TextLexer)  # which Pygments does not know
    return {"parallel_read_safe": True, "parallel_write_safe": True}
