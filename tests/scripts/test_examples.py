"""The examples of the library run, as separate processes that talk to each other."""

import os
import subprocess
import sys
import threading

import pytest

from tests.support import PATIENCE, ROOT, wait_until


class Example:
    """One process of an example: its lines on stdout, and a keyboard."""

    def __init__(self, script, *words):
        path = os.path.join(ROOT, "scripts", "examples", script)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, path, *words], stdin=pipe, stdout=pipe, stderr=pipe
        )
        self.lines = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip())

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def shows(self, line):
        """Wait until it has printed a line."""
        wait_until(lambda: line in self.lines)

    def address(self):
        """Where it listens: it says so first."""
        return wait_until(lambda: self.lines and self.lines[0].split()[-1])

    def leave(self):
        """Press Ctrl-D.  It has nothing to complain of."""
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0
        self.reader.join(PATIENCE)
        assert self.process.stderr.read() == b""
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def start():
    """``start(script, *words)``: an example that is ended afterwards in any case."""
    started = []

    def begin(*words):
        started.append(Example(*words))
        return started[-1]

    yield begin
    for example in started:
        example.process.kill()
        example.process.wait()


def test_everybody_in_the_chat_sees_every_line(start):
    ann = start("chat.py", "ann")
    bob = start("chat.py", "bob", ann.address())
    cid = start("chat.py", "cid", bob.address())
    for member, others in [(ann, ("bob", "cid")), (bob, ("ann", "cid")), (cid, ("ann", "bob"))]:
        for other in others:
            member.shows("* %s is here" % other)
    ann.type("hello \u00e9 \x1b[31m")
    bob.shows("<ann> hello \u00e9 ?[31m")
    cid.shows("<ann> hello \u00e9 ?[31m")
    cid.type("bye")
    cid.leave()  # at once, and its last word is heard
    ann.shows("<cid> bye")
    ann.shows("* cid has left")
    bob.leave()
    ann.leave()


def test_a_chat_with_nobody_there_says_so(start):
    chat = start("chat.py", "ann", "127.0.0.1:1")
    chat.shows("* cannot reach 127.0.0.1:1: refused")
    chat.leave()


def test_a_wrong_address_is_one_line(start):
    chat = start("chat.py", "ann", "127.0.0.1:port")
    assert chat.process.wait(PATIENCE) == 1
    assert chat.process.stderr.read().startswith(b"chat.py: bootstrap: ")


def test_every_member_has_the_same_entries_newcomers_too(start):
    first = start("keyvalue.py")
    first.type("colour=red")
    first.shows("'colour' = 'red'")
    second = start("keyvalue.py", first.address())
    second.shows("* 'colour' = 'red'")
    second.type("colour=green")
    first.shows("* 'colour' = 'green'")
    second.type("size=5")
    second.leave()  # at once, and its last change is heard
    first.shows("* 'size' = '5'")
    third = start("keyvalue.py", first.address())
    third.shows("* 'colour' = 'green'")
    third.shows("* 'size' = '5'")
    third.type("weight")
    third.shows("'weight' = None")
    third.leave()
    first.leave()
