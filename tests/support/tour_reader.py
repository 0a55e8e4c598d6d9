"""A person at a terminal who has started the tour."""

import os
import re
import select
import struct
import subprocess
import sys
import time

import pytest

from tests.support import PATIENCE, ROOT

LINES = 24
"""Of the smallest terminal that people still have."""

ONLY = "import sys\nfrom p2p_plain import cli\nfrom p2p_plain.tour import tour\ntour.SCENES = %s\nsys.exit(cli.main(['tour']))\n"
"""A program that plays only these scenes."""


class Person:
    """Types and reads; ``raw`` is all that the terminal has received.  Use it with ``with``."""

    def __init__(self, *words, columns=80, program=None, stdout=None):
        pytest.importorskip("termios")
        import fcntl
        import termios

        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))

        def own_the_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, *(["-c", program] if program else ["-m", "p2p_plain", "tour"]), *words],
            cwd=ROOT,
            stdin=slave,
            stdout=stdout or slave,
            stderr=subprocess.PIPE,
            env=dict(os.environ, TERM="xterm", NO_COLOR=""),
            preexec_fn=own_the_terminal,
        )
        os.close(slave)
        self.raw = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.master)

    def read(self, until, timeout=PATIENCE):
        """Return what appears from now up to ``until``; up to the end of the tour for ``None``."""
        began, start = time.monotonic(), len(self.raw)
        while until is None or until not in self.raw[start:]:
            assert time.monotonic() - began < timeout, self.raw[start:]
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:  # Linux: no process has the other side open
                    data = b""
                if not data:
                    assert until is None, self.raw[start:]
                    break
                self.raw += data.decode("ascii")
        return plain(self.raw[start:])

    def type(self, text):
        os.write(self.master, text.encode())

    def ended(self):
        """Assert that the tour ends without complaint and with exit code 0; returns the rest."""
        rest = self.read(None)
        assert self.process.wait(PATIENCE) == 0
        assert self.process.stderr.read() == b""
        return rest


def plain(text):
    """Return ``text`` without colours, and with the newlines of a file."""
    return re.sub(r"\x1b\[\d+m", "", text).replace("\r\n", "\n")
