"""The lessons in terminals of their own: what they print, and Ctrl-C."""

import glob
import os
import re
import signal
import subprocess
import sys
import threading

from tests.support import PATIENCE, ROOT, wait_until

FOLDER = os.path.join(ROOT, "scripts", "lessons")
LESSONS = sorted(map(os.path.basename, glob.glob(os.path.join(FOLDER, "[0-9][0-9]_*.py"))))
ALL = LESSONS + ["classroom.py", "whole.py", "wire.py"]


def source(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


class Terminal:
    """A lesson in a terminal of its own.  Use it with ``with``."""

    def __init__(self, lesson, *words, folder=FOLDER):
        name = lesson if lesson in ALL else next(n for n in LESSONS if n.startswith(lesson))
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(folder, name)] + [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode("utf-8").rstrip())

    @property
    def text(self):
        return "\n".join(self.lines)

    def count(self, words):
        return self.text.count(words)

    def wait_for(self, words, count=1):
        try:
            wait_until(lambda: self.count(words) >= count, 3 * PATIENCE)
        except AssertionError:
            raise AssertionError("no %r in:\n%s" % (words, self.text)) from None
        return self

    @property
    def port(self):
        self.wait_for("listening on port")
        return int(re.search(r"listening on port (\d+)", self.text).group(1))

    def wait(self):
        """Wait until it ends by itself; returns what it printed."""
        self.process.wait(3 * PATIENCE)
        self._reader.join(PATIENCE)
        return self.text

    def stop(self):
        """Press Ctrl-C; returns what it printed."""
        self.process.send_signal(signal.SIGINT)
        text = self.wait()
        assert self.process.returncode == 0, text
        assert "Traceback" not in text, text
        return text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        self.process.stdout.close()
