"""A session in a network for members only: its first lines are the handshake's, all others are sealed.

The rules hear nothing before both ends are known to be members.  From then on each line is sealed when
it is sent, under the send lock, and opened before anything of it is read.  A stranger hears our first
hello at the most, and one ``bye``.

``node`` makes these sessions where there is a ``secret_file``, and imports this module only then.
"""

from ..common.errors import PeerLeft, PeerMisbehaved, Unauthorised
from ..common.outcomes import ECHO
from ..common.typing import Any, List, Optional
from . import messages
from .handshake import Secret
from .peer import OUTBOUND
from .seal import SEAL_BYTES, Seal
from .session import Session


class MemberSession(Session):
    """A link whose other end has to prove that it has the secret."""

    compares_chunks = False

    def __init__(self, secret: Secret, *args: Any) -> None:
        """``args`` are those of ``Session``.  Raises ``OSError``."""
        super().__init__(*args)
        # Reader thread only.
        myself, dialed = self._overlay.myself, None if self.order is None else self.remote
        self._handshake = secret.handshake(myself.nodeid, myself.port, dialed)
        self._opening: Optional[Seal] = None
        """Opens what comes, once the other end is known as a member."""
        # Written under _send_lock.
        self._sealing: Optional[Seal] = None
        """Seals what is sent, once the other end is known as a member."""

    def seal_bytes(self) -> int:
        """Return the bytes that are added to each line on its way."""
        return SEAL_BYTES

    def _first_line(self) -> bytes:
        return self._handshake.begin()

    def _opened(self, lines: List[bytes]) -> List[bytes]:
        """Return the lines that a member has sealed, without their seals.

        Lines that come before the seals belong to the handshake, and are not returned.
        """
        found = []
        for line in lines:
            if self._opening is not None:
                found.append(self._opening.open(line))
            else:
                self._authenticate(line)
        return found

    def _authenticate(self, line: bytes) -> None:
        """Take a line of the handshake, and answer it.  Raises ``Refused`` or ``PeerLeft``."""
        if self._trace is not None:
            self._trace("<", self, line + b"\n")
        try:
            answer = self._handshake.receive(line)
        except Unauthorised as stranger:
            self.why = stranger.why
            if stranger.why == ECHO:  # no stranger, but no node at all
                raise PeerMisbehaved(str(stranger)) from None
            raise
        except PeerLeft:
            self.why = self._handshake.why
            raise
        self.began_to_greet = True
        if answer:
            self.send(answer, urgent=True)
        if self._handshake.opening is None:
            return
        self.first, self._opening = self._handshake.theirs, self._handshake.opening
        with self._send_lock:
            self._sealing = self._handshake.sealing
        self._lines.limit += SEAL_BYTES
        if self.direction == OUTBOUND:
            self.is_discreet = self.is_our_probe  # the other end is a member, and may know us
            self.send(self._overlay.first_line(self), urgent=True)

    def _outgoing_locked(self, lines: bytes) -> bytes:
        self._count_locked(lines)
        if self._sealing is None:
            return lines
        sealed = self._sealing.seal(lines)
        self.traffic.bytes_out += len(sealed) - len(lines)
        return sealed

    def _farewell_locked(self, reason: str, detail: str) -> bytes:
        """Return our ``bye``; for strangers one without a detail, or none."""
        if self._sealing is not None:
            return super()._farewell_locked(reason, detail)
        said = reason in ("unauthorised", "protocol")
        return self._outgoing_locked(messages.encode_bye("unauthorised")) if said else b""
