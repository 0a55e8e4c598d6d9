#!/usr/bin/env python3
"""Make the one file: ``python3 scripts/build.py`` puts the whole program into ``dist/p2p_plain.pyz``.

    scp dist/p2p_plain.pyz othermachine:
    ssh othermachine python3 p2p_plain.pyz --bootstrap 192.0.2.2:6000

It is a zip file with a ``#!`` line before it (PEP 441): Python runs the ``__main__.py`` at its top
and imports the rest from inside.  There is nothing to unpack, and nothing is ever written.

Comments and docstrings are left out, a quarter of the size, since who gets this file wants to run
it; to read the program, take the folder.  Every line of code stays on its line, so a traceback
from the one fits the other.

The same sources give the same bytes, whoever builds them, where and when and with which Python:
no times, no owners, no order but the alphabet's.  Only zlib has a say in it: an implementation that
searches in another way (zlib-ng, as some distributions have it) packs the same contents differently.
"""

import argparse
import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import tokenize
import zipfile
from typing import Dict, List, Optional, Tuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = "p2p_plain"
TARGET = os.path.join(ROOT, "dist", "p2p_plain.pyz")

DONE, CANNOT_BUILD = 0, 3

FIRST_LINE = b"#!/usr/bin/env python3\n"

KINDS = (".py", ".html", ".typed")
"""What a file of the package ends in.  Anything else there is an editor's, or Python's own."""

MADE_FROM = ["p2p_plain", "scripts/build.py"]
"""On what the bytes depend: whether these are as git knows them decides about ``-dirty``."""

SHORT_COMMIT = 7
"""Characters of it that are shown.  Not what git would choose: that grows with the repository."""

MIDNIGHT = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can name."""


def main(argv: List[str]) -> int:
    """Build it, and say what came out."""
    parser = argparse.ArgumentParser(description="Make the one file that is the whole program.")
    parser.add_argument("--output", metavar="PATH", default=TARGET, help="(dist/p2p_plain.pyz)")
    path = parser.parse_args(argv).output
    data = archive(contents(ROOT, commit(ROOT)))
    try:
        write(path, data)
    except OSError as error:
        print("build.py: cannot write %s: %s" % (path, error.strerror), file=sys.stderr)
        return CANNOT_BUILD
    print("%s, %d bytes, sha256 %s" % (path, len(data), hashlib.sha256(data).hexdigest()))
    return DONE


def contents(root: str, commit: str) -> Dict[str, bytes]:
    """Every file of the archive, by its name in there."""
    files = {}
    folder = os.path.join(root, PACKAGE)
    for name in os.listdir(folder):
        if not name.endswith(KINDS):
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()  # whatever ends a line there, "\n" ends it here
        if name == "__init__.py":
            text = with_commit(text, commit)
        if name.endswith(".py"):
            text = bare(text)
        files["%s/%s" % (PACKAGE, name)] = text.encode("utf-8")
    files["__main__.py"] = files[PACKAGE + "/__main__.py"]
    return files


def with_commit(text: str, commit: str) -> str:
    """``__init__.py`` with the commit filled in."""
    made, count = re.subn('^__commit__ = ""$', '__commit__ = "%s"' % commit, text, flags=re.M)
    assert count == 1, "__init__.py has no place for the commit"
    return made


def bare(source: str) -> str:
    """The same program without comments and docstrings, every line of code where it was.

    A string that is a statement becomes an empty one: it may be all that a function consists of.
    """
    lines = source.split("\n")
    tokens = list(tokenize.tokenize(io.BytesIO(source.encode("utf-8")).readline))
    cuts: List[Tuple[tokenize.TokenInfo, str]] = []
    begins = True  # whether the next token is the first of a statement
    for token, following in zip(tokens, tokens[1:]):
        if token.type == tokenize.COMMENT:
            cuts.append((token, ""))
        elif token.type == tokenize.STRING and begins and following.type == tokenize.NEWLINE:
            cuts.append((token, '""'))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            begins = token.type in _BEFORE_A_STATEMENT
    for token, rest in reversed(cuts):  # from the end, so that what is before stays where it was
        (first, begin), (last, end) = token.start, token.end
        text = lines[first - 1][:begin] + rest + lines[last - 1][end:]
        lines[first - 1 : last] = [text.rstrip()] + [""] * (last - first)
    return "\n".join(lines)


_BEFORE_A_STATEMENT = (tokenize.ENCODING, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def archive(files: Dict[str, bytes]) -> bytes:
    """A zip file that Python can run."""
    made = io.BytesIO(FIRST_LINE)
    made.seek(0, os.SEEK_END)  # the zip file's own offsets count that line
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, MIDNIGHT)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever that is done
            entry.external_attr = 0o100644 << 16
            zipped.writestr(entry, files[name])
    return made.getvalue()


def write(path: str, data: bytes) -> None:
    """Put it there whole, executable by everyone, or leave what was there.  Raises ``OSError``."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".p2p_plain-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o755)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def commit(root: str) -> str:
    """``abcdef1`` or ``abcdef1-dirty``; empty outside of git."""
    top = git(root, "rev-parse", "--show-toplevel")
    if not top or not os.path.samefile(top, root):
        return ""  # perhaps inside of a repository, but of another one
    head = git(root, "rev-parse", "HEAD")
    changes = git(root, "status", "--porcelain", "--untracked-files=normal", "--", *MADE_FROM)
    if not head or changes is None:
        return ""
    return head[:SHORT_COMMIT] + ("-dirty" if changes else "")


def git(root: str, *words: str) -> Optional[str]:
    """What git says of ``root``; ``None`` if it fails or is not there."""
    # In a hook there are variables that would make it speak of another repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_OPTIONAL_LOCKS"] = "0"  # asking changes nothing
    try:
        said = subprocess.check_output(
            ["git"] + list(words), cwd=root, stderr=subprocess.DEVNULL, env=env
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.decode("utf-8", "replace").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
