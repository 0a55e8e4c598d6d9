"""A network namespace with nothing but a loopback interface, for the fuzzer and all it starts.

It is the second wall: ``harmless`` already keeps every line from naming an address elsewhere.
"""

import os
import shutil
import socket
import struct
import subprocess
import sys

INSIDE = "P2P_PLAIN_FUZZ_INSIDE"
"""Environment variable: ``1`` within the namespace, ``no`` if that could not be prepared."""


def enter_private_network() -> None:
    """Start this program again inside such a namespace, where that is allowed (root, Linux)."""
    if INSIDE in os.environ:
        if not _switch_loopback_on():
            os.environ[INSIDE] = "no"
        return
    unshare = shutil.which("unshare")
    if unshare is None or not sys.platform.startswith("linux") or os.geteuid() != 0:
        return
    inside = [unshare, "--net", sys.executable]
    null = subprocess.DEVNULL
    if subprocess.call(inside + ["-c", ""], stdout=null, stderr=null) != 0:
        return
    os.environ[INSIDE] = "1"
    sys.stdout.flush()
    os.execv(unshare, inside + sys.argv)


def is_isolated() -> bool:
    """Return True inside the namespace."""
    return os.environ.get(INSIDE) == "1"


def _switch_loopback_on() -> bool:
    """Do what ``ip link set lo up`` does, without ip: SIOCSIFFLAGS of netdevice(7)."""
    try:
        import fcntl  # not on Windows

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            request = struct.pack("16sh14x", b"lo", 0)
            flags = struct.unpack("16sh14x", fcntl.ioctl(sock, 0x8913, request))[1]
            fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))
        return True
    except (ImportError, OSError):
        return False
