"""A network namespace with nothing but a loopback interface, for the fuzzer and all it starts.

It is a second safeguard: ``harmless`` already keeps every line from naming an address elsewhere.
"""

import socket
import struct
import sys

CLONE_NEWNET = 1 << 30  # unshare(2)
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # netdevice(7)


def enter_private_network() -> bool:
    """Move this process into such a namespace; return False where that is not allowed.

    It takes Linux and root.  Call it before any other thread and process is started.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        import ctypes
        import fcntl
    except ImportError:  # a Python that was built without one of them
        return False
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
    return True
