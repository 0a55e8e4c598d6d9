"""``help [NAME]``: list the documents that travel with the program, or print one.

The documents stand beside the code that they describe and are part of the single file.  A machine
that needs them often has no browser.  Main thread only.
"""

import pkgutil
import sys

from ..common.errors import UsageError
from ..common.options import Parser, program
from ..common.output import Output
from ..common.program import DONE
from ..common.typing import List

PACKAGE = __name__.partition(".")[0]

DOCUMENTS = {
    "options": "commands/options.rst",
    "page": "web/page.rst",
    "secret": "commands/secret.rst",
    "service": "commands/service.rst",
    "library": "library.rst",
    "wire": "node/wire.rst",
    "architecture": "architecture.rst",
    "drawings": "drawings.rst",
    "glossary": "glossary.rst",
}
"""Path in the package by name, in the order of the list."""


def help_on(argv: List[str]) -> int:
    """Print the document that is named, or the list of all; returns the exit code.

    Raises ``UsageError`` if there is no such document.
    """
    options = Parser(
        program() + " help",
        "List the documents that travel with the program, or print one.",
        "example:\n  %s help wire | less" % program(),
    )
    options.add_argument("name", metavar="NAME", nargs="?", help="a document of the list")
    name = options.parse_args(argv).name
    Output(sys.stdout).write(contents() if name is None else document(name))
    return DONE


def document(name: str) -> str:
    """Return the text of a document.  Raises ``UsageError`` if there is none of that name."""
    if name not in DOCUMENTS:
        found = ", ".join(DOCUMENTS)
        raise UsageError("", "there is no document %r; the documents are %s" % (name, found))
    # Reads from a folder and from the single file alike.
    data = pkgutil.get_data(PACKAGE, DOCUMENTS[name])
    assert data is not None
    return data.decode("utf-8").rstrip("\n")


def contents() -> str:
    """Return the list of all documents, each with its title."""
    titles = ["  %-13s %s" % (name, document(name).partition("\n")[0]) for name in DOCUMENTS]
    return "\n".join(["Documents; print one with: %s help NAME" % program(), "", *titles])
