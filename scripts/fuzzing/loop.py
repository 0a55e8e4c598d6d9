"""The select loop: holds many dialogs at once until enough lines are sent."""

import errno
import os
import re
import selectors
import socket
import sys
import time
from collections import Counter, deque
from typing import Deque, Dict, Iterator, NamedTuple, Optional

from .conversation import ACCEPTOR, Conversation, make_conversation
from .dialog import Dialog
from .judge import evidence, judge
from .target import Target
from .wire import TIMEOUT
from .world import OwnPorts

TICK = 0.005
"""Seconds between two looks at dialogs whose sockets are not ready."""

DYING = 0.5
"""Seconds: the connections of a node that dies end a moment before its process does."""

PROGRESS_EVERY = 2.0


class Options(NamedTuple):
    """How much is sent."""

    lines: int
    connections: int  # at once
    only: Optional[int]  # the number of the one conversation to hold


class Loop:
    """Dials the target, accepts its connections, and counts how the dialogs end."""

    def __init__(self, target: Target, options: Options) -> None:
        self.lines = 0
        self.dialed = 0
        self.accepted = 0
        self.ends: Dict[str, int] = Counter()
        """Dialogs by how they ended."""
        self.details: Dict[str, int] = Counter()
        """Each ``bye protocol`` by its detail."""

        self._target = target
        self._options = options
        self._ports = OwnPorts()
        self._world = self._ports.world(target.nodeid, target.address[1])
        self._plan = self._conversations()
        self._dialogs: Dict[socket.socket, Dialog] = {}
        self._open = 0  # dialogs that the fuzzer dialed
        self._recent: Deque[Dialog] = deque(maxlen=5)
        """The last to end: the input that killed a node is among them, or in an open one."""
        self._looked_at = 0.0
        self._shown_at = time.monotonic()
        self._masks: Dict[socket.socket, int] = {}
        self._selector = selectors.DefaultSelector()
        for listener in self._ports.listeners:
            self._selector.register(listener, selectors.EVENT_READ)

    def _conversations(self) -> Iterator[Conversation]:
        seed, (lines, _, only) = self._target.seed, self._options
        if only is not None:
            yield make_conversation(seed, only, self._world)
            return
        planned = number = 0
        while planned < lines:
            conversation = make_conversation(seed, number, self._world)
            yield conversation
            number += 1
            planned += len(conversation.lines)

    def run(self) -> None:
        """Return when every planned conversation is held, or after a failure that ends the run."""
        try:
            while not self._target.over():
                self._fill()
                if not self._open:
                    return
                self._serve()
                self._tick()
            if self._target.node_died(TIMEOUT):
                self._report_death()
        finally:
            for dialog in list(self._dialogs.values()):
                dialog.ended = "ours"
                self._finish(dialog)
            self._selector.close()
            self._ports.close()

    def _fill(self) -> None:
        while self._open < self._options.connections and not self._target.over():
            conversation = next(self._plan, None)
            if conversation is None:
                return
            self._dial(conversation)

    def _dial(self, conversation: Conversation) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        problem = sock.connect_ex(self._target.address)
        if problem in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._open += 1
            self.dialed += 1
            self._add(Dialog(sock, conversation, accepted=False))
            return
        sock.close()
        if not self._target.node_died(DYING):
            self._target.complain("cannot connect to the node: %s" % os.strerror(problem))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock = listener.accept()[0]
        except OSError:
            return
        self.accepted += 1
        conversation = make_conversation(self._target.seed, self.accepted, self._world, ACCEPTOR)
        self._add(Dialog(sock, conversation, accepted=True))

    def _add(self, dialog: Dialog) -> None:
        self._dialogs[dialog.sock] = dialog
        self._wait_for(dialog.sock, selectors.EVENT_READ)

    def _serve(self) -> None:
        """Wait for ready sockets, at most a tick, and serve their dialogs."""
        for key, mask in self._selector.select(TICK):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            dialog = self._dialogs.get(sock)
            if dialog is None:
                self._accept(sock)
            else:
                now = time.monotonic()
                dialog.serve(mask, now)
                self._advance(dialog, now)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._looked_at > TICK:
            self._looked_at = now
            for dialog in list(self._dialogs.values()):
                self._advance(dialog, now)
        if now - self._shown_at > PROGRESS_EVERY:
            self._shown_at = now
            self._target.vitals()  # for the peak of memory
            if sys.stdout.isatty():
                done = (self.lines, self._options.lines, self.dialed, len(self._dialogs))
                print("%d of %d lines, %d connections, %d open" % done, flush=True)

    def _advance(self, dialog: Dialog, now: float) -> None:
        dialog.advance(now)
        if dialog.ended:
            self._finish(dialog)
        else:
            self._wait_for(dialog.sock, dialog.wants(now))

    def _wait_for(self, sock: socket.socket, mask: int) -> None:
        """Wait for this readiness of a socket from now on; 0 is for none."""
        before = self._masks.get(sock, 0)
        self._masks[sock] = mask
        if mask and not before:
            self._selector.register(sock, mask)
        elif mask and mask != before:
            self._selector.modify(sock, mask)
        elif before and not mask:
            self._selector.unregister(sock)

    def _finish(self, dialog: Dialog) -> None:
        """Close, count and judge a dialog that has ended."""
        self._wait_for(dialog.sock, 0)
        del self._dialogs[dialog.sock], self._masks[dialog.sock]
        dialog.sock.close()
        self._recent.append(dialog)
        self._open -= not dialog.accepted
        self.lines += dialog.sent_lines
        self.ends[_how_it_ended(dialog)] += 1
        if dialog.bye is not None and dialog.bye.get("reason") == "protocol":
            self.details[_without_figures(str(dialog.bye.get("detail")))] += 1
        problem = judge(dialog)
        if problem is not None and not self._target.node_died(DYING):
            self._target.complain("%s\n%s" % (problem, evidence(dialog, self._target.seed)))

    def _report_death(self) -> None:
        assert self._target.node is not None
        suspects = list(self._recent) + list(self._dialogs.values())[:10]
        shown = "\n".join(evidence(dialog, self._target.seed) for dialog in suspects)
        code = self._target.node.process.returncode
        form = "the node died, exit code %s; the last dialogs to end, and open ones:\n%s"
        self._target.complain(form % (code, shown))


def _how_it_ended(dialog: Dialog) -> str:
    if dialog.bye is not None:
        return "bye %s" % dialog.bye.get("reason")
    if dialog.ended == "ours":
        return "our " + dialog.conversation.ending
    if dialog.ended == "eof":
        return "our half-close" if dialog.half_closed else "its close"
    return {"reset": "a reset"}.get(dialog.ended, dialog.ended)


def _without_figures(detail: str) -> str:
    """Return the detail without what differs from one bad line to the next of the same kind."""
    return re.sub(r"[0-9]+", "N", detail.partition(":")[0])[:40]
