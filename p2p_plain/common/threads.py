"""The threads of one node: started here, known by name here, waited for here.

All but two, which are ``threading.Thread``s of their own: the pinger and the dispatcher (``events``).

A connection's thread is started with ``_thread.start_new_thread`` and not with
``threading.Thread``: ``Thread.start()`` waits until the child has run a moment, and while the
accepting thread waits it accepts nobody (measured: 1.3 to 6 times as many handshakes a second
without that wait).  The price is that ``threading`` does not know these threads, so nothing
on them may call ``threading.current_thread()`` (it would invent a "Dummy" thread and keep it
for ever, before Python 3.12), and neither may they use ``logging``, which does.  They do not
need to: they tell ``events``, whose own thread logs for them.

The interpreter does not wait for such threads at exit, and the threads of a connection do
not keep a program alive: ``Node.stop`` ends them, and ``Crew.wait`` sees that they did.
"""

import _thread
import sys
import threading
import time
from typing import Any, Callable, Dict, List


class Crew:
    """Threads that are counted and named.  Any thread may call any method."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain = complain
        """Called with a traceback when a thread ends with an exception: always our bug."""
        # A lock with a bell: who holds it may wait, which lets go of it until notify_all().
        self._lock = threading.Condition()
        # Guarded by _lock.
        self._names: Dict[int, str] = {}
        self._running = 0
        """Counted from before the thread begins, so that ``wait`` overlooks none; named only then."""

    def start(self, name: str, function: Callable[..., None], *args: Any) -> None:
        """Run ``function(*args)`` on a new thread.  Raises ``RuntimeError`` if there can be none."""
        with self._lock:
            self._running += 1
        try:
            _thread.start_new_thread(self._run, (name, function, args))
        except RuntimeError:  # the limit of threads or of memory
            self._count_down()
            raise

    def prepare(self) -> None:
        """Let one thread come and go while there is nothing that could go wrong yet.

        The first thread that ends makes the C library load another one (``libgcc_s``).  If no
        descriptor is left by then, that fails and aborts the whole process (CPython issue
        44434, until 3.9).  Loaded once, it stays.  ``join`` returns a moment before the thread
        gets to that, so see that it did.
        """
        if sys.version_info >= (3, 10):
            return
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        for _ in range(50):
            try:
                with open("/proc/self/maps", "rb") as maps:
                    if b"libgcc_s" in maps.read():
                        return
            except OSError:
                return  # not Linux
            time.sleep(0.001)

    def name(self) -> str:
        """The calling thread's name."""
        name = self._names.get(_thread.get_ident())  # our own entry: nobody else changes it
        return threading.current_thread().name if name is None else name

    def names(self) -> List[str]:
        """The names of those that are running now."""
        with self._lock:
            return list(self._names.values())

    def running(self) -> int:
        """How many threads are running now."""
        with self._lock:
            return self._running

    def wait(self, deadline: float) -> int:
        """Wait until all have ended or it is ``deadline`` (monotonic); how many are left."""
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
