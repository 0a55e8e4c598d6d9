"""Scene 8: a network with a secret, and a stranger at its door."""

import shutil
import tempfile

from ..common.keys import make_key_file
from ..node.handshake import Handshake
from ..node.member_session import MemberSession
from ..node.seal import Seal
from .cast import NETWORK
from .guide import Guide


class KeyFile:
    """A file with a new key, in a folder of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp()
        self.path = self._folder + "/tour.key"
        make_key_file(self.path)

    def close(self) -> None:
        """Remove both."""
        shutil.rmtree(self._folder, ignore_errors=True)


def knocking(guide: Guide) -> None:
    """A stranger hears one word; a node that has the key proves it without saying it."""
    key = guide.keep(KeyFile())
    host = guide.keep(guide.start("host", secret_file=key.path))
    guide.say("""
        So far anyone could become a peer. A *secret* ends that: a file with 32 random bytes, which
        every node of a network has. The node host was started with one (--secret-file). A stranger
        says hello to it, as the others did:
        """)
    guide.pause()
    stranger = guide.stranger(host, "nobody")
    stranger.send("hello", nodeid=stranger.nodeid, name="nobody", network=NETWORK)
    guide.wait_for("host says bye", lambda: stranger.received("bye"))
    guide.wire(host.wire(peer=stranger.address))
    guide.report(host, "refused", reason="unauthorised")
    guide.say("""
        host did not even say hello. It has told the stranger nothing: no name, no address. And it
        believes nothing that the stranger has said.
        """)
    guide.pause()

    guide.say("""
        Now a node that has the same file dials host. How can it show that without saying the secret
        to those who listen? Both ends say a random number that is used once, a *nonce*. Each
        hashes both hellos, hashes the result together with the secret, and says what comes out: the
        mac. This is what host sent and received:
        """)
    member = guide.keep(guide.start("member", secret_file=key.path, bootstrap=host.address))
    guide.wait_for("member is a peer", lambda: host.reported("peer_up", nodeid=member.nodeid))
    shown = host.wire(kinds="auth")[0]["peer"]
    guide.wire(host.wire(kinds="hello auth", peer=shown)[:6])
    guide.report(host, "peer_up", nodeid=member.nodeid)
    guide.pause()
    guide.say("""
        Only a node that has the secret can compute the mac, and other nonces would give another mac.
        The names came after that, in a second hello. From there on every line ends with a *seal*, made
        of the secret, the line and its number. A line that somebody changes, drops or repeats on the
        way does not fit its seal. All of it can still be read: that takes encryption.
        """)
    guide.read(Handshake.receive, Seal.open, MemberSession._authenticate)
    guide.so("""
        Do not send a secret. Prove that you have it, with something new each time that nobody can
        use again.
        """)
