"""How the user or the system asks the program to stop: Ctrl-C, SIGTERM, SIGHUP, and on Windows Ctrl-Break.

Python runs signal handlers on the main thread, between two steps of whatever that thread is doing.
A handler that took a lock could wait without end for the code that it interrupted.  So ``SelfPipe``
only notes a signal, and the main thread acts on it where it next waits (the "self-pipe trick").

Main thread only, except for ``SelfPipe.wake``.
"""

import os
import select
import signal
import socket

from .typing import Any, Callable, List, Optional, Sequence, Set, Tuple


class Interrupted(Exception):
    """A stop signal came while the main thread was in a call that might never return."""


def stop_signals() -> Tuple[int, ...]:
    """Return the numbers of the signals that ask a program to stop.

    SIGHUP says that the terminal is gone; a program that ``nohup`` started ignores it, and goes on.
    Windows never delivers SIGTERM: a process there is ended without being asked.  It has
    Ctrl-Break, which reaches a single process.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    hangup = getattr(signal, "SIGHUP", None)
    return tuple(n for n in numbers if n != hangup or signal.getsignal(n) != signal.SIG_IGN)


def rereading_signals() -> Tuple[int, ...]:
    """Return SIGHUP where no terminal can send it: there it asks a service to read its files again."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None:
        return ()
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return (hangup,)
    return ()


def treat_all_like_ctrl_c() -> None:
    """Make every stop signal raise ``KeyboardInterrupt``, as Ctrl-C does by itself.

    By default SIGTERM and SIGHUP would end the process without cleaning up.  In the first process of a
    container it would do nothing, because the kernel ignores it there.  A signal that is ignored
    already stays so: the caller wanted that (``nohup``, a script's ``&``).
    """
    for number in stop_signals():
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def ignore_rereading_signals() -> None:
    """Ignore SIGHUP where it asks a service to read its files again, until ``SelfPipe`` handles it.

    A node that starts has yet to read them, so nothing is lost.
    """
    for number in rereading_signals():
        signal.signal(number, signal.SIG_IGN)


def undisturbed(function: Callable[[], Any]) -> Any:
    """Return what ``function`` returns, and delay ``KeyboardInterrupt`` meanwhile.  For imports.

    An exception raised in the middle of an import can end up in one of Python's own callbacks,
    where it is printed and forgotten, and the program would continue.
    """
    numbers = [n for n in stop_signals() if signal.getsignal(n) == signal.default_int_handler]
    seen: List[int] = []
    for number in numbers:
        signal.signal(number, lambda number, _: seen.append(number))
    try:
        found = function()
    finally:
        for number in numbers:
            signal.signal(number, signal.default_int_handler)
    if seen:
        raise KeyboardInterrupt
    return found


def ignore_stop_signals() -> None:
    """Ignore further stop signals: the program is ending, and a second Ctrl-C must not disturb it."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


class SelfPipe:
    """Lets the main thread wait for signals, keys and other threads at once.  Use it with ``with``.

    Python's low-level handler writes each signal's number into a socket (``signal.set_wakeup_fd``);
    ``wake`` writes a zero byte.  ``wait`` reads that socket.
    """

    def __init__(self, ending: Sequence[int], others: Sequence[int] = ()) -> None:
        """``ending`` are the signals that end the program, ``others`` are only reported."""
        self._ending = tuple(ending)
        self._signals = self._ending + tuple(others)
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self.blocking = False
        """True inside an ``interruptible`` block."""
        self.ended = 0
        """The first ending signal that came; 0 before that."""

    def __enter__(self) -> "SelfPipe":
        signal.set_wakeup_fd(self._write.fileno())
        for number in self._signals:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self.ignore()
        signal.set_wakeup_fd(-1)
        self._read.close()
        self._write.close()

    def ignore(self) -> None:
        """Ignore these signals from now on: the end has begun.

        They do not return to their defaults, which could turn exit code 0 into a death by signal.
        """
        self.blocking = False
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)

    def wake(self) -> None:
        """End ``wait``.  Any thread; never blocks."""
        try:
            self._write.send(b"\0")
        except OSError:
            pass  # full, so ``wait`` will return; or closed, and nobody waits

    def wait(
        self, timeout: Optional[float] = None, keyboard: Optional[int] = None
    ) -> Tuple[Optional[bytes], Set[int]]:
        """Wait at most ``timeout`` seconds.  Return the keys typed and the signals that came.

        ``keyboard`` is a descriptor; the keys are ``None`` once it has reached its end.
        """
        readers: List[Any] = [self._read] + ([] if keyboard is None else [keyboard])
        readable, _, _ = select.select(readers, [], [], timeout)
        keys: Optional[bytes] = b""
        if keyboard is not None and keyboard in readable:
            try:
                keys = os.read(keyboard, 1024) or None
            except OSError:  # the terminal is gone
                keys = None
        numbers = self._read.recv(4096) if self._read in readable else b""
        return keys, set(numbers) - {0}

    def interruptible(self) -> "Interruptible":
        """Return a block in which an ending signal raises ``Interrupted``, as does one before it.

        For calls that may never return: a write to a terminal stopped with Ctrl-S, for example.
        """
        return Interruptible(self)

    def _note(self, number: int, _: object) -> None:
        if number in self._ending:
            self.ended = self.ended or number
            if self.blocking:
                self.blocking = False  # only once: the way out is not to be interrupted
                raise Interrupted


class Interruptible:
    """The block of ``SelfPipe.interruptible``.

    (``contextlib`` would make it shorter, and takes 0.6 of the 45 ms of a start.)
    """

    def __init__(self, pipe: SelfPipe) -> None:
        self._pipe = pipe

    def __enter__(self) -> None:
        self._pipe.blocking = True
        if self._pipe.ended:
            self._pipe.blocking = False
            raise Interrupted

    def __exit__(self, *_: object) -> None:
        self._pipe.blocking = False
