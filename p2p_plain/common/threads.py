"""The threads of one node: started, named, and waited for at the end.

Each connection has a thread, so has each dial under way, and so has the accepting loop.  ``Crew``
starts them all, so that a stop can wait for all of them against one deadline.  (The pinger and the
dispatcher of ``events`` are plain ``threading.Thread`` objects.)  An exception on such a thread is
logged and does not end the node.

The interpreter does not wait for these threads when it exits: ``Node.stop`` ends them.
"""

import _thread
import sys
import threading
import time

from .typing import Any, Callable, Dict, List


class Crew:
    """Threads that are counted and named.  Any thread may call any method."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        """Called with a traceback when a thread ends with an exception: always our bug."""
        # A Condition is a lock with a bell: wait() lets go of it until notify_all() rings.
        self._lock = threading.Condition()
        # Guarded by _lock.
        self._names: Dict[int, str] = {}
        """By thread identifier; a thread has a name once it runs."""
        self._running = 0
        """Counted before the thread begins, so that ``wait`` overlooks none."""

    def start(self, name: str, function: Callable[..., None], *args: Any) -> None:
        """Run ``function(*args)`` on a new thread.  Raises ``RuntimeError`` if there can be none.

        Such a thread must not call ``threading.current_thread`` or use ``logging``, which does.
        """
        with self._lock:
            self._running += 1
        try:
            # Usually one writes threading.Thread(...).start().  That waits until the child has run
            # for a moment, and meanwhile the accepting thread accepts nobody: 1,560 handshakes a
            # second instead of 3,100, with 32 at once.  The price: threading does not know the
            # thread, and before Python 3.12 its current_thread() would invent a "Dummy" and keep it.
            _thread.start_new_thread(self._run, (name, function, args))
        except RuntimeError:  # the limit of threads or of memory
            self._count_down()
            raise

    def name(self) -> str:
        """Return the calling thread's name."""
        name = self._names.get(_thread.get_ident())  # our own entry: nobody else changes it
        return threading.current_thread().name if name is None else name

    def names(self) -> List[str]:
        """Return the names of the threads that are running now."""
        with self._lock:
            return list(self._names.values())

    def wait(self, deadline: float) -> int:
        """Wait until all have ended or it is ``deadline`` (monotonic); return how many are left."""
        with self._lock:
            # A thread of this crew that waits for all cannot wait for itself.
            mine = 1 if _thread.get_ident() in self._names else 0
            while self._running > mine:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._lock.wait(left)
            return self._running - mine

    def report(self, doing: str) -> None:
        """Complain of the exception that is being handled: a bug of ours, not of a peer."""
        import traceback  # not at the top: nearly no run needs it, and each start would pay

        self._complain("%s failed:\n%s" % (doing, traceback.format_exc()))

    def _run(self, name: str, function: Callable[..., None], args: Any) -> None:
        with self._lock:
            self._names[_thread.get_ident()] = name
        try:
            function(*args)
        except Exception:
            self.report(name)
        finally:
            with self._lock:
                del self._names[_thread.get_ident()]
            self._count_down()

    def _count_down(self) -> None:
        with self._lock:
            self._running -= 1
            self._lock.notify_all()


def end_a_first_thread() -> None:
    """Let one thread come and go while there are descriptors left.  Needed on Python 3.6 to 3.9.

    There the first thread that ends makes the C library load another library, ``libgcc_s``.  If no
    descriptor is left by then, that fails and aborts the whole process (CPython issue 44434).  Once
    loaded, it stays.
    """
    if sys.version_info >= (3, 10):
        return
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    for _ in range(50):  # join() returns a moment before the thread loads it
        try:
            with open("/proc/self/maps", "rb") as maps:
                if b"libgcc_s" in maps.read():
                    return
        except OSError:
            return  # not Linux
        time.sleep(0.001)
