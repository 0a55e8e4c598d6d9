"""Asks the node of one host what it says of the network, in all the ways in which it can be asked.

``questions.py FOLDER`` runs on the host, with the host's Python and the p2p_plain in FOLDER.  Each
line of stdin is a JSON object with ``node`` and ``page`` (addresses), ``network`` and ``ask``, a list
of commands and of paths of the status page.  The answer is a line, too: by question, the exit code or
HTTP status, and the text.  It runs until the end of stdin.

One process answers again and again: to start a Python for each question takes longer than to answer
it, and the answers of one round should be of one moment.
"""

import contextlib
import http.client
import io
import json
import sys
from typing import Any, Dict, List, Tuple

TIMEOUT = 5.0
"""Seconds for the status page to answer."""

NO_ANSWER = -1
"""In place of an HTTP status."""

OPTIONS: Dict[str, List[str]] = {"matrix": ["--json"], "check": ["--json", "--within", "0", "--expect", "1"]}


def answer(wanted: Dict[str, Any]) -> Dict[str, Tuple[int, str]]:
    """Return the answers to one line."""
    return {
        question: page(wanted["page"], question)
        if question.startswith("/")
        else command([question, wanted["node"], "--network", wanted["network"], *OPTIONS[question]])
        for question in wanted["ask"]
    }


def command(words: List[str]) -> Tuple[int, str]:
    """Run a command of the program as if it had been typed.  Return its exit code and its output."""
    from p2p_plain import cli

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(words)
    return code, said.getvalue()


def page(address: str, path: str) -> Tuple[int, str]:
    """Return the status and the body of a page, or ``NO_ANSWER`` and why."""
    try:
        connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return NO_ANSWER, "%s: %s" % (path, error)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    out = sys.stdout
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()
