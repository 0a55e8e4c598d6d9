"""Moves the program into namespaces of its own, so that nothing outside is touched.

The program divides in two.  The child is the first process of a private world (mounts, processes,
network) and runs the laboratory.  Its parent waits outside for its exit code and passes signals on.
When the child ends, for whatever reason, the kernel ends all other processes of that world and
removes its networks and mounts.  When the parent dies, the kernel kills the child.
"""

import ctypes
import os
import signal
import sys

from .errors import CannotBuild
from .programs import check_programs, run

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 1 << 17, 1 << 28, 1 << 29, 1 << 30
PR_SET_PDEATHSIG = 1

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

NAMES = os.path.realpath("/var/run/netns")
"""Folder in which ``ip netns`` keeps its names.  Inside, a private file system covers it."""


def enter_private_world() -> None:
    """Return in a child process, inside; the parent exits with the child's exit code.

    Inside, the first SIGINT or SIGTERM raises ``KeyboardInterrupt``, and later ones are ignored.
    No thread may run yet.  Raises ``CannotBuild`` if this machine does not allow it.
    """
    if not sys.platform.startswith("linux"):
        raise CannotBuild("network namespaces exist on Linux only: run it there")
    check_programs()
    libc = ctypes.CDLL(None, use_errno=True)
    _unshare(libc)
    # Blocked until each has its handlers; otherwise an early Ctrl-C would show a traceback.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    child = os.fork()
    if child:
        sys.exit(_wait_outside(child))
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "proc", "proc", "/proc")
    # The folder exists once `ip netns` has been used.  Before that, cover the folder above it;
    # that one is not always possible, because NixOS keeps programs there.
    run("mount", "-t", "tmpfs", "lab", NAMES if os.path.isdir(NAMES) else os.path.dirname(NAMES))
    os.makedirs(NAMES, exist_ok=True)


def _unshare(libc: ctypes.CDLL) -> None:
    """Make the namespaces, as this user or else as root of a user namespace."""
    private = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
    if libc.unshare(private) == 0:
        return
    identities = ("uid", os.getuid()), ("gid", os.getgid())
    if libc.unshare(private | CLONE_NEWUSER) != 0:
        reason = os.strerror(ctypes.get_errno()).lower()
        raise CannotBuild("cannot make namespaces (%s): run it as root" % reason)
    with open("/proc/self/setgroups", "w") as file:
        file.write("deny")  # Linux demands it before gid_map may be written
    for name, number in identities:
        with open("/proc/self/%s_map" % name, "w") as file:
            file.write("0 %d 1" % number)


def _wait_outside(child: int) -> int:
    """Pass stop signals on to the child, wait for its end, and return its exit code."""

    def pass_on(number: int, _: object) -> None:
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass  # it has just ended

    for number in STOP_SIGNALS:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _, status = os.waitpid(child, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _interrupt_once(*_: object) -> None:
    """Handle a stop signal.  A second one would disturb the cleaning up that the first began."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
