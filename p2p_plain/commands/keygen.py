"""``keygen [FILE]``: make a key for a network that keeps strangers out.  Main thread only."""

import sys

from ..common.errors import CannotStart
from ..common.keys import encode_key, make_key_file, new_key
from ..common.options import Parser, program
from ..common.output import Output
from ..common.program import DONE
from ..common.typing import List


def keygen(argv: List[str]) -> int:
    """Make the file that is named, or print a new key; return the exit code.

    Raises ``CannotStart`` if the file cannot be made, or the key not be printed.
    """
    options = Parser(
        program() + " keygen",
        "Make a key: print it, or write it to a new file that only you can read.",
        "example:\n  %s keygen network.key" % program(),
    )
    options.add_argument("file", metavar="FILE", nargs="?", help="the file to make")
    file = options.parse_args(argv).file
    out = Output(sys.stdout)
    if file is None:
        out.write(encode_key(new_key()))
        if out.problem:  # a redirection to a full disk must not look like a key file
            raise CannotStart("cannot print the key: %s" % out.problem)
    else:
        out.write("%s holds key %s" % (file, make_key_file(file).id))
    return DONE
