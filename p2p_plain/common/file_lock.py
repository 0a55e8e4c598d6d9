"""Shows other programs that a file is in use.

The lock is advisory (flock(2)) and on the file itself.  So it needs no second file and no process
number, which says nothing in a container, and the system drops it when the process dies, however that
happens.  Two nodes of one process have two locks.

Where there is no flock (Windows) or the file system has none, every lock seems free.  One thread at a
time.
"""

import errno
import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """A lock on a file that is replaced as a whole each time it is saved."""

    def __init__(self) -> None:
        self._descriptor = -1
        """Open for as long as we hold the lock; -1 without one."""

    def take(self, path: str) -> bool:
        """Lock ``path``, which is made if it is not there; False if another program has locked it."""
        while True:
            descriptor = _open(path, os.O_CREAT)
            if descriptor == -1:
                return True
            if not _lock(descriptor):
                os.close(descriptor)
                return False
            # Its owner may have replaced it between our two calls: then we hold a lock of a file
            # that has no name any more.
            if _is_at(descriptor, path):
                self._hold(descriptor)
                return True
            os.close(descriptor)

    def replace(self, temporary: str, path: str) -> None:
        """Rename ``temporary`` to ``path``, as ``os.replace`` does, so that it is locked from the first.

        Raises ``OSError``; the lock is then on the old file, as before.
        """
        descriptor = _open(temporary)
        if descriptor != -1:
            _lock(descriptor)
        try:
            os.replace(temporary, path)
        except OSError:
            _close(descriptor)
            raise
        self._hold(descriptor)

    def release(self) -> None:
        """Give the lock back, if we have one."""
        self._hold(-1)

    def _hold(self, descriptor: int) -> None:
        _close(self._descriptor)
        self._descriptor = descriptor


def _open(path: str, more: int = 0) -> int:
    """Return a descriptor, or -1 without locks."""
    if fcntl is None:  # Windows, which replaces no file that is open
        return -1
    for flags in (os.O_RDWR | more, os.O_RDONLY):  # NFS locks only what is open for writing
        try:
            return os.open(path, flags, 0o666)
        except OSError:
            pass
    return -1


def _lock(descriptor: int) -> bool:
    """Lock an open file; False only if somebody else has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # ENOLCK, EOPNOTSUPP and others: no locks here
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _close(descriptor: int) -> None:
    if descriptor != -1:
        os.close(descriptor)
