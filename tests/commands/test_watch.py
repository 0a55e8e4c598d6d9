"""watch: the picture at any size, the keys, and that the terminal is always given back."""

import codecs
import os
import re
import select
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

from p2p_plain.commands.guest import Snapshot
from p2p_plain.commands.watch_panel import Chosen, Known, Report, picture_of, sparkline
from p2p_plain.common.address import Address
from p2p_plain.monitor.row_messages import Links
from p2p_plain.node.messages import Hello
from p2p_plain.terminal.text import clip, columns_of
from tests.support import PATIENCE, ROOT, free_port, wait_until
from tests.support.asked_node import FakeNode, greeted_then, ids, mesh, wait_for_the_end

termios = pytest.importorskip("termios", reason="needs a terminal as POSIX knows it")
fcntl = pytest.importorskip("fcntl")

COLOUR = re.compile("\x1b\\[[0-9;]*m")


# -- the picture, without a terminal -----------------------------------------------------------------


def as_links(rows):
    """Rows of the wire as a guest returns them."""
    return [
        Links(row["nodeid"], tuple(row["links"]), row["name"], row["age"]) for row in rows
    ]


def state_of(*answers, problem="", name="node-01"):
    """What ``watch`` knows after these answers, a second apart."""
    state = Known(Address("127.0.0.1", 6000))
    hello = Hello(ids(1)[0], name=name)
    for number, rows in enumerate(answers):
        state.learn(Report(Snapshot(hello, as_links(rows)), "", float(number)))
    if problem:
        state.learn(Report(None, problem, float(len(answers))))
    return state


def drawn(state, columns=80, lines=24, keys="", colour=False, encoding="utf-8"):
    chosen = Chosen()
    for field, value in re.findall(r"(\w+)=(\w+)", keys):
        setattr(chosen, field, value if field == "sort" else int(value))
    now = state.answered_at + 1
    return picture_of(state, chosen, now, columns, lines, colour, encoding)


@pytest.mark.parametrize("stale_after, up", [(180.0, 6), (3.0, 4)])
def test_the_node_says_how_old_a_row_may_be(stale_after, up):
    rows = mesh(3)
    rows[1]["age"] = 10
    state = Known(Address("127.0.0.1", 6000))
    answer = Snapshot(Hello(ids(1)[0]), as_links(rows), stale_after)
    state.learn(Report(answer, "", 0.0))
    assert state.judged.summary.up == up


def test_nodes_of_one_name_have_the_labels_of_the_verdicts():
    rows = mesh(4)
    for row in rows:
        row["name"] = "twin"
        for one in row["links"]:
            one["name"] = "twin"
            if one["nodeid"] == ids(4)[2]:
                one["dial"] = "timeout"
    shown = drawn(state_of(rows))
    (verdict,) = [line for line in shown if "nobody can dial it" in line]
    (row,) = [line for line in shown if " timed out " in line]
    assert row.startswith("twin (00000003) ")
    assert verdict.startswith("twin (00000003): ")


@pytest.mark.parametrize("name", ["node-%03d", "\u6771\u4eac-%d", "e\u0301-%d", "x" * 50 + "%d"])
def test_the_picture_always_fits_the_terminal(name):
    states = [state_of(), state_of(problem="timeout " * 40)]
    for count in (1, 4, 40):
        rows = mesh(count, name)
        if count > 1:
            rows[0]["links"][0].update(dial="unreachable", rtt_ms=1e300, up_s=1e300, jitter_ms=None)
            rows[0]["links"][-1].update(dial="timeout", direction="none", rtt_ms=None)
        states += [state_of(rows), state_of(rows, problem="connection refused, " * 9)]
    sizes = [(80, 24), (40, 10), (200, 50), (20, 5), (1, 1), (2, 2), (10, 3), (7, 60)]
    for state in states:
        for columns, lines in sizes:
            for whole in (0, 1):
                shown = drawn(state, columns, lines, "whole=%d" % whole, colour=True)
                assert len(shown) <= lines
                for line in shown:
                    assert columns_of(COLOUR.sub("", line)) <= columns


def test_each_node_has_a_line_with_every_measurement():
    rows = mesh(3)
    rows[0]["links"][1].update(dial="timeout", rtt_ms=153.2, rtt_p50_ms=12.34, up_s=3900)
    lines = drawn(state_of(rows), 120)
    assert lines[0] == "node-01 00000001  127.0.0.1:6000"
    assert lines[1] == "not ok: 3 nodes, 5 of 6 directions up, answered 1.0 s ago"
    titles = ["NAME", "ADDRESS", "DIR", "DIAL", "LAST/ms", "P50", "WORST", "JITTER", "UP", "SEEN"]
    assert lines[2].split() == titles
    second = " ".join(lines[3].split()[:-1])
    assert second == "node-02 127.0.0.1:6000 out ok 0.30 0.30 1.20 0.10 1m01s"
    third = " ".join(lines[4].split()[:-1])
    assert third == "node-03 127.0.0.1:6000 out timed out 153 12.3 1.20 0.10 1h05m"
    assert "node-01 -> node-03 timed out" in "\n".join(lines)
    assert lines[-1].startswith("q quit  m matrix  s sort: name")


def test_the_loss_of_packets_has_a_column_only_where_there_is_some():
    rows = mesh(3)
    heading = drawn(state_of(rows), columns=120)[2]
    assert heading.startswith("NAME") and "LOSS" not in heading
    rows[0]["links"][0].update(loss_pct=9.8, loss_segs=300, loss_events=25)
    shown = drawn(state_of(rows), columns=120)
    assert " LOSS " in shown[2] and " 9.8 % " in shown[3] and " - " in shown[4]
    assert any(line == "node-01 -> node-02 loses 9.8 %" for line in shown)


def test_a_way_on_which_large_packets_are_lost_is_no_ok():
    rows = mesh(3)
    rows[0]["links"][0].update(big="lost", big_passed=1400, big_lost=1401)
    shown = drawn(state_of(rows), columns=120)
    assert " large lost " in shown[3] and " ok " in shown[4]
    assert any(line.startswith("packets over 1,400 bytes do not pass") for line in shown)


def test_a_narrow_picture_drops_columns_but_never_the_dial():
    rows = mesh(3)
    rows[0]["links"][1]["dial"] = "refused"
    lines = drawn(state_of(rows), 40, 10)
    assert "ADDRESS" not in lines[2]
    assert re.search(r"node-03 .*refused", "\n".join(lines))


@pytest.mark.parametrize(
    "key, order",
    [
        ("name", "a b c"),
        ("last", "b a c"),
        ("worst", "c a b"),
        ("dial", "b c a"),
        ("up", "c b a"),
    ],
)
def test_lines_are_sorted_and_those_without_a_value_are_last(key, order):
    rows = mesh(4)
    for entry, name, rtt, worst, dial, up in zip(
        rows[0]["links"], "abc", (2, 1, None), (2, 3, 1), ("timeout", "ok", "refused"), (3, 2, 1)
    ):
        entry.update(rtt_ms=rtt, rtt_max_ms=worst, dial=dial, up_s=up)
        (row,) = [row for row in rows if row["nodeid"] == entry["nodeid"]]
        row["name"] = name
    state = state_of(rows)

    def names(backwards):
        lines = drawn(state, keys="sort=%s backwards=%d" % (key, backwards))
        return [line.split()[0] for line in lines[3:6]]

    assert names(0) == order.split()
    back = [name for name in order.split() if not (key == "last" and name == "c")][::-1]
    assert names(1) == back + [name for name in order.split() if name not in back]


@pytest.mark.parametrize("field", ["name", "address"])
def test_numbers_in_names_and_addresses_are_sorted_as_numbers(field):
    rows = mesh(3)
    for row, entry, value in zip(rows[1:], rows[0]["links"], ("10.0.0.10", "10.0.0.9")):
        entry[field] = value
        row["name"] = entry["name"]
    lines = drawn(state_of(rows), keys="sort=" + field)
    assert [re.search(r"10\.0\.0\.\d+", line).group() for line in lines[3:5]] == ["10.0.0.9", "10.0.0.10"]


def test_pages_together_show_every_node():
    state = state_of(mesh(40))
    seen = set()
    for page in range(3):
        lines = drawn(state, keys="page=%d" % page)
        assert "space page %d/3" % (page + 1) in lines[-1]
        seen |= set(re.findall(r"^node-\d\d", "\n".join(lines[3:]), re.M))
    assert len(seen) == 39


def test_the_matrix_can_replace_the_peers():
    lines = drawn(state_of(mesh(3)), keys="whole=1")
    assert any(line.startswith("3 node-03") for line in lines)
    assert lines[-1].startswith("q quit  m peers")


def test_a_lost_node_is_marked_and_its_last_answer_stays():
    lines = drawn(state_of(mesh(3), problem="connection refused"))
    assert lines[1].startswith("LOST: connection refused; trying again; ok: 3 nodes, ")
    assert "answered 1.0 s ago" in " ".join(lines[1:4])
    assert any(line.startswith("node-02") for line in lines)


def test_names_cannot_play_with_the_terminal():
    """The wire rejects a name that is not printable.  If one came through, it would be escaped."""
    rows = mesh(3)
    rows[0]["links"][0]["name"] = "\x1b[2J\u202e"
    rows[0]["name"] = rows[1]["name"] = "\x1b]0;title\x07"
    for keys in ("whole=0", "whole=1"):
        text = "\n".join(drawn(state_of(rows, name="\x1bc"), keys=keys))
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text


# -- the sparkline -----------------------------------------------------------------------------------------


def test_a_sparkline_shows_the_spike_and_the_gap():
    assert sparkline([1, 1, 8, None, 4], "12345678") == "228!5"
    assert sparkline([0, 0], "12345678") == "11"


def test_each_measurement_is_one_sample():
    first, second, gone = mesh(2), mesh(2), mesh(2)
    second[0]["links"][0]["rtt_ms"] = 0.6
    gone[0]["links"][0].update(direction="none", rtt_ms=0.6)
    state = state_of(first, first, second, gone, gone)
    assert list(state.samples[ids(2)[1]]) == [0.3, 0.6, None]
    assert "\u2585\u2588!" in "\n".join(drawn(state, 120))


def test_an_encoding_without_blocks_gets_ascii():
    lines = drawn(state_of(mesh(2, "z\u00fcrich-%d")), 120, encoding="ascii")
    text = "\n".join(lines)
    assert text.encode("ascii").decode() == text
    assert "z\\xfcrich-2" in text
    assert lines[3].endswith(" #")


def test_samples_of_a_node_that_is_gone_are_dropped():
    many, few = mesh(4), mesh(2)
    assert len(state_of(many, few).samples) == 1


def test_a_cut_line_ends_its_colour():
    assert clip("\x1b[31mred and more\x1b[0m", 3) == "\x1b[31mred\x1b[0m"
    assert clip("\u6771\u4eac", 3) == "\u6771"
    assert clip("a\x07", 9) == "a\\x07"


# -- on a terminal ---------------------------------------------------------------------------------------------


class Terminal:
    """A pseudo-terminal with ``watch`` on it, and the screen that its output makes.

    Knows the control sequences that ``watch`` uses.  Any other, text beyond the right margin, and
    lines beyond the last are faults.
    """

    def __init__(self, *words, columns=80, lines=24, through=(), env=None):
        self.master, self.slave = os.openpty()
        self.columns, self.lines = columns, lines
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""
        self.screen = {}
        self.modes = set()
        self.row = self.column = 0
        self.faults = []

        def own_the_terminal():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, *through, "-m", "p2p_plain", "watch", *words],
            cwd=ROOT,
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.PIPE,
            env=dict(os.environ, TERM="xterm", PYTHONIOENCODING="utf-8", NO_COLOR="", **(env or {})),
            preexec_fn=own_the_terminal,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self._stop.set()
        self._thread.join(PATIENCE)
        os.close(self.master)
        os.close(self.slave)

    def resize(self, columns, lines):
        self.columns, self.lines = columns, lines
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self):
        while not self._stop.is_set():
            if select.select([self.master], [], [], 0.02)[0]:
                try:
                    self._feed(self.decoder.decode(os.read(self.master, 65536)))
                except OSError:
                    return

    def _feed(self, text):
        self.text += text
        while self.text:
            found = re.match(r"\x1b\[(\??[0-9;]*)([A-Za-z])", self.text)
            if found:
                self.text = self.text[found.end() :]
                self._control(found.group(1), found.group(2))
            elif re.match(r"\x1b(\[\??[0-9;]*)?\x1b", self.text):
                # The end came in the middle of one: on every terminal ESC begins anew.
                self.text = self.text[self.text.index("\x1b", 1) :]
            elif self.text[0] == "\x1b":
                if len(self.text) > 16:
                    self.faults.append(self.text[:16])
                    self.text = self.text[1:]
                else:
                    return  # the rest of it comes
            else:
                self._show(self.text[0])
                self.text = self.text[1:]

    def _control(self, argument, letter):
        if argument.startswith("?") and letter in "hl":
            mode = int(argument[1:])
            (self.modes.add if letter == "h" else self.modes.discard)(mode)
            if mode == 1049:
                self.screen = {}
        elif letter == "H":
            row, _, column = argument.partition(";")
            self.row, self.column = int(row or 1) - 1, int(column or 1) - 1
            if self.row >= self.lines:
                self.faults.append("line %d of %d" % (self.row, self.lines))
        elif letter == "K" and not argument:
            self._erase(lambda r, c: r == self.row and c >= self.column)
        elif letter == "J":
            self._erase(lambda r, c: argument == "2" or r > self.row or (r, c) >= (self.row, self.column))
        elif letter != "m":
            self.faults.append(argument + letter)

    def _erase(self, which):
        self.screen = {at: c for at, c in list(self.screen.items()) if not which(*at)}

    def _show(self, character):
        if 1049 not in self.modes:
            return
        if not character.isprintable() or self.column >= self.columns:
            self.faults.append("%r in column %d" % (character, self.column))
        self.screen[self.row, self.column] = character
        self.column += 1

    @property
    def shown(self):
        """The screen as text."""
        screen = dict(self.screen)
        return "\n".join(
            "".join(screen.get((r, c), " ") for c in range(self.columns)).rstrip()
            for r in range(self.lines)
        )

    def wait_for(self, text):
        return wait_until(lambda: text in self.shown and self.shown)

    def type(self, keys):
        os.write(self.master, keys)

    def mode(self):
        """Settings of the terminal."""
        return termios.tcgetattr(self.slave)

    def given_back(self):
        """True if settings, screen, cursor and wrapping are as before."""
        return self.mode() == self.before and 1049 not in self.modes and {7, 25} <= self.modes

    def ended(self, code=0):
        """Wait for the end of the program; everything must be as before."""
        assert self.process.wait(PATIENCE) == code
        wait_until(self.given_back)
        assert self.process.stderr.read() == b""
        assert self.faults == []
        return True


@pytest.fixture
def node():
    with FakeNode(mesh(4)) as node:
        yield node


def test_the_screen_shows_the_nodes_and_q_ends_it(node):
    with Terminal(node.text) as terminal:
        shown = terminal.wait_for("node-04")
        assert shown.startswith("node-01 00000001  %s\nok: 4 nodes, 12 of 12" % node.text)
        assert not terminal.given_back()
        assert not terminal.mode()[3] & termios.ECHO
        assert 25 not in terminal.modes
        terminal.type(b"q")
        assert terminal.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_watch_and_the_terminal_is_given_back(node, number):
    with Terminal(node.text) as terminal:
        terminal.wait_for("node-04")
        terminal.process.send_signal(number)
        terminal.process.send_signal(number)
        assert terminal.ended()


def test_ctrl_c_ends_watch_while_the_node_is_frozen():
    with FakeNode(play=greeted_then(wait_for_the_end)) as node, Terminal(node.text) as terminal:
        terminal.wait_for("asking")
        terminal.type(b"\x03")
        assert terminal.ended()


def test_a_bug_gives_the_terminal_back_before_its_traceback(node):
    program = (
        "import sys\n"
        "from p2p_plain import cli; from p2p_plain.commands import watch\n"
        "def broken(*args): raise ZeroDivisionError('rehearsed')\n"
        "watch._obey = broken\n"
        "sys.exit(cli.main(['watch', %r]))\n" % node.text
    )
    # The words that Terminal adds are not looked at.
    with Terminal(through=("-c", program)) as terminal:
        assert terminal.process.wait(PATIENCE) == 1
        wait_until(terminal.given_back)
        assert b"rehearsed" in terminal.process.stderr.read()


def test_keys_sort_reverse_and_show_the_matrix(node):
    with Terminal(node.text, columns=100) as terminal:
        terminal.wait_for("node-04")
        terminal.type(b"s")
        terminal.wait_for("s sort: address")
        terminal.type(b"sssr")
        terminal.wait_for("s sort: last  r backwards")
        terminal.type(b"m")
        terminal.wait_for("4 node-04")
        terminal.wait_for("m peers")
        terminal.type(b"\x1b[A\x1bOqm")  # an arrow, and another key that is no q
        terminal.wait_for("m matrix")
        terminal.type(b"q")
        assert terminal.ended()


def test_the_picture_follows_the_size_of_the_window(node):
    with Terminal(node.text, columns=120, lines=30) as terminal:
        terminal.wait_for("ADDRESS")
        terminal.resize(40, 10)
        terminal.process.send_signal(signal.SIGWINCH)
        wait_until(lambda: "ADDRESS" not in terminal.shown and "q quit" in terminal.shown)
        terminal.type(b"q")
        assert terminal.process.wait(PATIENCE) == 0
        wait_until(terminal.given_back)


SHELL = """
import os, signal, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable] + sys.argv[1:])
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 99)
    os.tcsetpgrp(0, os.getpgrp())
    echo = bool(termios.tcgetattr(0)[3] & termios.ECHO)
    sys.stderr.write("stopped, echo %s\\n" % echo)
    sys.stderr.flush()
    sys.stdin.readline()
    os.tcsetpgrp(0, child)
    os.kill(-child, signal.SIGCONT)
"""


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(node):
    with Terminal(node.text, through=("-c", SHELL)) as terminal:
        terminal.wait_for("node-04")
        for _ in range(2):
            terminal.type(b"\x1a")
            assert terminal.process.stderr.readline() == b"stopped, echo True\n"
            wait_until(terminal.given_back)
            terminal.type(b"fg\n")
            terminal.wait_for("node-04")
            assert not terminal.given_back()
        terminal.type(b"q")
        assert terminal.ended()


def test_a_signal_ends_watch_on_a_stopped_terminal(node):
    """Ctrl-S stops the output.  SIGTERM ends the program, and the terminal is still given back."""
    with Terminal(node.text, "--interval", "0.05", columns=200, lines=50) as terminal:
        terminal.wait_for("node-04")
        for keys in (b"mmmm", b"\x13", b"mmmm"):
            terminal.type(keys)
        # The system acts upon keys a moment later; a stop after the end would hold back the last output.
        wait_until(lambda: not select.select([], [terminal.slave], [], 0.1)[1])
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended()


def test_a_node_that_returns_is_asked_again():
    rows = mesh(3)

    def play(peer, number):
        if number == 2:
            peer.hear_any()
            peer.say("bye", reason="stopping", detail="\x1b[2J")
            return False
        node.greet(peer)
        node.answer(peer)
        if number > 2:
            return wait_for_the_end(peer)
        return False

    with FakeNode(rows, play=play) as node, Terminal(node.text, "--interval", "0.3") as terminal:
        shown = terminal.wait_for("LOST: the node is stopping: \\x1b[2J; trying again")
        assert "node-03" in shown
        wait_until(lambda: "LOST" not in terminal.shown)
        terminal.type(b"q")
        assert terminal.ended()


def test_a_refused_connection_is_shown_and_tried_again():
    with Terminal("127.0.0.1:%d" % free_port(), "--interval", "0.1") as terminal:
        terminal.wait_for("refused: the host is up")
        terminal.type(b"q")
        assert terminal.ended()


def test_a_hostile_hello_cannot_play_with_the_terminal():
    def play(peer, number):
        peer.hear_any()
        name = b'"\\u001b[2J' + b"x" * 65536
        peer.say_raw(b'{"msgtype":"hello","nodeid":"%s","name":%s"}\n' % (ids(1)[0].encode(), name))
        wait_for_the_end(peer)

    with FakeNode(play=play) as node, Terminal(node.text, columns=40, lines=10) as terminal:
        terminal.wait_for("not a node")
        terminal.type(b"q")
        assert terminal.ended()


# -- without a terminal --------------------------------------------------------------------------------------------


def piped(*words, env=None):
    return subprocess.Popen(
        [sys.executable, "-m", "p2p_plain", "watch", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )


def hear_until(process, text):
    lines = []
    while text not in "".join(lines):
        line = process.stdout.readline().decode()
        assert line, process.stderr.read()
        lines.append(line)
    return "".join(lines)


def test_a_pipe_gets_a_block_for_each_answer_until_it_is_closed(node):
    with piped(node.text, "--interval", "0.05") as process:
        first = hear_until(process, "directions up, p50")
        hear_until(process, "directions up, p50")
        process.stdout.close()
        try:
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
        assert process.stderr.read() == b""
    assert "\x1b" not in first
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\nnode-01 00000001  ", first)
    assert "node-04" in first


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_watch_on_a_pipe(node, number):
    with piped(node.text) as process:
        hear_until(process, "node-04")
        process.send_signal(number)
        try:
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
        assert process.stderr.read() == b""


def test_a_signal_ends_watch_on_a_full_pipe():
    with FakeNode(mesh(40)) as node, piped(node.text, "--interval", "0.05") as process:
        try:
            seen = [0.0, 0]

            def nothing_more_comes():
                (size,) = struct.unpack("i", fcntl.ioctl(process.stdout, termios.FIONREAD, b"\0" * 4))
                if size != seen[1]:
                    seen[:] = [time.monotonic(), size]
                return size and time.monotonic() - seen[0] > 0.5

            wait_until(nothing_more_comes)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_a_pipe_in_ascii_gets_ascii(node):
    env = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    with piped(node.text, env=env) as process:
        block = hear_until(process, "node-04")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert block.encode("ascii")
    assert "#" in block
