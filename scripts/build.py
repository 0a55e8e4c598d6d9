#!/usr/bin/env python3
"""Build the single file: ``python3 scripts/build.py`` writes the whole program to ``dist/p2p_plain.pyz``.

    scp dist/p2p_plain.pyz othermachine:
    ssh othermachine python3 p2p_plain.pyz --bootstrap 192.0.2.2:6000

The result is a zip file with a ``#!`` line in front (PEP 441).  Python runs the ``__main__.py`` at
its top and imports the rest from inside the zip; nothing is unpacked and nothing is written.

Comments and docstrings are removed, which saves a quarter of the size.  Every line of code keeps
its line number, so tracebacks match the sources.  Documents (``.rst``) are included unchanged.

The same sources always give the same bytes: the archive holds no times and no owners, and its
files are sorted.  Only zlib can make a difference: another implementation (zlib-ng in some
distributions) may compress the same contents to other bytes.
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

KINDS = (".py", ".html", ".rst", ".typed")
"""Endings of the package's files.  Other files there belong to editors or are Python's caches."""

SOURCES = ["p2p_plain", "scripts/build.py"]
"""Uncommitted changes in these paths mark the version as ``-dirty``: the bytes depend on them."""

SHORT_COMMIT = 7
"""Characters of the commit that are shown.  Git's own choice would grow with the repository."""

EARLIEST_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold."""


def main(argv: List[str]) -> int:
    """Build the file and print its path, size and checksum.  Returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the single file that is the whole program.")
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
    """Return the files of the archive by their names in it; ``commit`` is filled in."""
    files = {}
    places = 0
    for folder, _, names in os.walk(os.path.join(root, PACKAGE)):
        for name in names:
            path = os.path.join(folder, name)
            if not name.endswith(KINDS) or name.startswith("."):  # ".#cli.py" is a lock of Emacs
                continue
            with open(path, encoding="utf-8") as file:
                text = file.read()  # turns every line ending into "\n"
            if name.endswith(".py"):
                text, found = re.subn(
                    '^__commit__ = ""$', '__commit__ = "%s"' % commit, text, flags=re.M
                )
                places += found
                text = bare(text)
            files[os.path.relpath(path, root).replace(os.sep, "/")] = text.encode("utf-8")
    assert places == 1, "exactly one module must contain the line: __commit__ = \"\""
    files["__main__.py"] = files[PACKAGE + "/__main__.py"]
    return files


def bare(source: str) -> str:
    """Return ``source`` without comments and docstrings, each line of code where it was.

    A docstring becomes an empty string, because it can be the whole body of a function.
    """
    lines = source.split("\n")
    tokens = list(tokenize.tokenize(io.BytesIO(source.encode("utf-8")).readline))
    cuts: List[Tuple[tokenize.TokenInfo, str]] = []
    begins = True  # the next token is the first of a statement
    for token, following in zip(tokens, tokens[1:]):
        if token.type == tokenize.COMMENT:
            cuts.append((token, ""))
        elif token.type == tokenize.STRING and begins and following.type == tokenize.NEWLINE:
            cuts.append((token, '""'))
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            begins = token.type in _BEFORE_A_STATEMENT
    for token, rest in reversed(cuts):  # backwards, so that earlier positions stay valid
        (first, begin), (last, end) = token.start, token.end
        text = lines[first - 1][:begin] + rest + lines[last - 1][end:]
        lines[first - 1 : last] = [text.rstrip()] + [""] * (last - first)
    return "\n".join(lines)


_BEFORE_A_STATEMENT = (tokenize.ENCODING, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def archive(files: Dict[str, bytes]) -> bytes:
    """Return ``files`` as a zip file that Python can run."""
    made = io.BytesIO(FIRST_LINE)
    made.seek(0, os.SEEK_END)  # the zip file's offsets count the first line
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, EARLIEST_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also when built elsewhere
            entry.external_attr = 0o100644 << 16
            zipped.writestr(entry, files[name])
    return made.getvalue()


def write(path: str, data: bytes) -> None:
    """Replace ``path`` by an executable file with ``data``.  If it raises ``OSError``, the old file stays."""
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
    """Return ``abcdef1`` or ``abcdef1-dirty``; empty if ``root`` is not the top of a git work tree."""
    top = git(root, "rev-parse", "--show-toplevel")
    if not top or not os.path.samefile(top, root):
        return ""
    head = git(root, "rev-parse", "HEAD")
    changes = git(root, "status", "--porcelain", "--untracked-files=normal", "--", *SOURCES)
    if not head or changes is None:
        return ""
    return head[:SHORT_COMMIT] + ("-dirty" if changes else "")


def git(root: str, *words: str) -> Optional[str]:
    """Return what a git command prints in ``root``; ``None`` if git fails or is missing."""
    # A git hook sets variables that would point the command at another repository.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_OPTIONAL_LOCKS"] = "0"  # a build changes nothing in the repository
    try:
        said = subprocess.check_output(
            ["git"] + list(words), cwd=root, stderr=subprocess.DEVNULL, env=env
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.decode("utf-8", "replace").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
