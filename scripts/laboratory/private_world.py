"""Moves the program into namespaces of its own, so that nothing outside is touched.

``enter_private_world`` starts the script a second time behind ``unshare``, with private mounts,
processes and network.  The kernel removes all of it when the first process inside ends, for
whatever reason.

      process outside               unshare        process inside (number 1 there)
      waits for its exit code  -->  forks     -->  builds the laboratory, runs the steps
            |                                           ^
            +---------- lifeline: a pipe ---------------+

A byte in the lifeline is a signal that the outside process received.  The lifeline's end means
that the outside process is dead, and the process inside ends as well.
"""

import os
import signal
import subprocess
import sys
import threading
from typing import List

from .errors import CannotBuild
from .programs import check_programs, environment, run

LIFELINE = "P2P_LAB_LIFELINE"
"""Environment variable that is set inside: the descriptor of the lifeline's reading end."""

PRIVATE = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
"""Options of ``unshare``.  A PID namespace ends with its first process, which is ours."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

NAMES = os.path.realpath("/var/run/netns")
"""Folder in which ``ip netns`` keeps its names.  Inside, a private file system covers it."""


def enter_private_world(argv: List[str]) -> None:
    """Return inside a private world.  ``argv`` is ``sys.argv``, to run the script once more there.

    The call does not return outside: it exits with the exit code of the run inside.  Inside,
    the first SIGINT or SIGTERM raises ``KeyboardInterrupt``, and later ones are ignored.
    Raises ``CannotBuild`` if this machine does not allow it.
    """
    if LIFELINE in os.environ:
        _settle_in(int(os.environ.pop(LIFELINE)))
        return
    if not sys.platform.startswith("linux"):
        raise CannotBuild("network namespaces exist on Linux only: run it there")
    check_programs()
    sys.exit(_run_inside(_unshare(), argv))


def _unshare() -> List[str]:
    """Return the ``unshare`` command that works here: as this user, or as root of a user namespace."""
    output = ""
    for rights in [], ["--map-root-user"]:
        command = ["unshare"] + rights + PRIVATE
        tried = subprocess.run(
            command + ["true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        )
        if tried.returncode == 0:
            return command
        output = tried.stdout.decode("ascii", "replace").strip().replace("\n", "; ")
    raise CannotBuild("cannot make namespaces (%s): run it as root" % output)


def _run_inside(unshare: List[str], argv: List[str]) -> int:
    """Run the script behind ``unshare`` and return its exit code.

    ``unshare`` blocks SIGINT and SIGTERM, so a signal that is sent to this process alone travels
    through the lifeline.  The signals stay blocked until the process inside can handle them;
    otherwise an early Ctrl-C would show a traceback.
    """
    reading, writing = os.pipe()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _: _pass_on(writing, number))
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    child = subprocess.Popen(
        unshare + [sys.executable] + argv,
        env=environment(**{LIFELINE: str(reading)}),
        pass_fds=[reading],
    )
    os.close(reading)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    code = child.wait()
    return code if code >= 0 else 128 - code


def _pass_on(lifeline: int, number: int) -> None:
    try:
        os.write(lifeline, bytes([number]))
    except BrokenPipeError:
        pass  # the run inside has already ended


def _settle_in(lifeline: int) -> None:
    """Inside: watch the lifeline, handle signals, and cover the machine's namespace names."""
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_watch, args=(lifeline,), daemon=True).start()
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    run("mount", "--make-rprivate", "/")
    # The folder exists once `ip netns` has been used.  Before that, cover the folder above it;
    # that one is not always possible, because NixOS keeps programs there.
    run("mount", "-t", "tmpfs", "lab", NAMES if os.path.isdir(NAMES) else os.path.dirname(NAMES))
    os.makedirs(NAMES, exist_ok=True)


def _watch(lifeline: int) -> None:
    """Thread inside: pass signals to the main thread, and die with the process outside."""
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    for number in iter(lambda: os.read(lifeline, 1), b""):
        signal.pthread_kill(main_thread, ord(number))
    os._exit(128 + signal.SIGKILL)


def _interrupt_once(*_: object) -> None:
    """Handle a stop signal.  A second one would disturb the cleaning up that the first began."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
