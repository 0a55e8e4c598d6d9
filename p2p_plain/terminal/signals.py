"""How a person or the system asks the program to stop: Ctrl-C, SIGTERM, and what Windows has.

Signals are a matter of the main thread: Python runs their handlers there and nowhere else.
"""

import signal
from typing import Tuple


def stop_signals() -> Tuple[int, ...]:
    """The numbers of the signals that ask a program to stop.

    Windows knows SIGTERM by name only: whoever ends a process there does not ask it first.
    Instead it has Ctrl-Break, which some send because it reaches a single process.
    """
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


def treat_all_like_ctrl_c() -> None:
    """From now on each of them raises ``KeyboardInterrupt``, as Ctrl-C does by itself.

    Without this SIGTERM would end us without a last word; and it would not even do that where we
    are the first process of a container, for which the kernel has no default but to ignore it.
    Whoever started us with a signal ignored (``nohup``, a script's ``&``) meant it.
    """
    for number in stop_signals():
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


class Held:
    """While modules are imported, whoever asks us to stop waits until they are.  Use it with ``with``.

    What a signal raises in the middle of an import may come out in a callback of Python's own, where
    it is printed and forgotten: the program would go on.
    """

    def __init__(self) -> None:
        self._asked = False
        self._numbers = [
            number
            for number in stop_signals()
            if signal.getsignal(number) == signal.default_int_handler
        ]

    def __enter__(self) -> None:
        for number in self._numbers:
            signal.signal(number, self._note)

    def __exit__(self, *_: object) -> None:
        for number in self._numbers:
            signal.signal(number, signal.default_int_handler)
        if self._asked:
            raise KeyboardInterrupt

    def _note(self, number: int, _: object) -> None:
        self._asked = True


def ignore_stop_signals() -> None:
    """The end has begun, and a second Ctrl-C must not disturb it."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)
