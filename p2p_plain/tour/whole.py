"""Scenes 9 and 10: the network as a whole, and how a program ends."""

import _thread
import time

from ..common.options import program
from ..common.threads import Crew
from ..common.typing import Optional
from ..common.words import milliseconds
from ..full_node import Node
from ..monitor.judge import Judgement, judge
from ..monitor.reach import Reach
from ..monitor.survey import Survey
from ..node.peer_table import PeerTable
from ..node.session import Session
from ..terminal.matrix_table import draw
from .guide import Guide


def reaching(guide: Guide) -> None:
    """What each node has measured, as one table."""
    alpha, gamma = guide.actor("alpha"), guide.actor("gamma")
    guide.say("""
        Every node measures the round trip to each peer. It also dials each peer again now and then,
        beside the connection: can it still be reached from here? The results of one node are its
        *row*, and it sends its row to all others. So every node has the whole *matrix*. This is
        alpha's; each row comes from one node:
        """)
    guide.pause()

    def whole() -> Optional[Judgement]:
        found = Judgement(alpha.node.rows(), alpha.node.stale_after())
        return found if (found.summary.nodes, found.summary.up) == (3, 6) else None

    judged = guide.wait_for("alpha knows 3 nodes, and all 6 directions are up", whole)
    view = judged.view
    table = draw(view, guide.reader.columns, guide.reader.colour)
    guide.text([*table, "", *(verdict.text for verdict in judged.verdicts)])
    there = milliseconds(view.directions[alpha.nodeid, gamma.nodeid].p50_ms)
    back = milliseconds(view.directions[gamma.nodeid, alpha.nodeid].p50_ms)
    guide.say(f"""
        The first row is what alpha measured: {there} to gamma. gamma has measured the way back
        itself: {back}. "{program()} matrix HOST:PORT" shows this for any network, and the README has
        a matrix in which something is wrong.
        """)
    guide.read(Reach.ended, Survey.own_row, draw, judge)
    guide.so("""
        An open connection does not prove that a new one could be made. So a node measures both, and
        each direction by itself.
        """)


def stopping(guide: Guide) -> None:
    """One node stops, the others notice, and in the end no thread is left."""
    alpha, beta, gamma = (guide.actor(name) for name in ("alpha", "beta", "gamma"))
    guide.say("These threads are at work now, besides the one that shows you this:")
    at_work = guide.threads(alpha, beta, gamma)
    guide.say(f"""
        There are {at_work} more than before the first node. listener accepts, connector dials, pinger
        watches the clock, events reports to us, and each connection has a thread of its own.
        """)
    guide.pause()
    guide.say("""
        The threads of a node share its tables, and a lock guards each table. Two locks can end like
        this, so a thread that holds one of them does not wait for another:
        """)
    guide.draw("Two locks and a deadlock")
    guide.pause()
    guide.say("alpha stops first. It says bye to each peer, so its peers know at once:")
    before = len(alpha.lines)
    began = time.monotonic()
    alpha.node.stop()
    took = milliseconds((time.monotonic() - began) * 1000)
    guide.wire(alpha.wire(">", "bye", since=before))
    for one in (beta, gamma):
        guide.report(one, "peer_down", nodeid=alpha.nodeid, reason="stopping")
    guide.report(alpha, "stopped")
    beta.node.stop()
    gamma.node.stop()
    guide.wait_for("all threads have ended", lambda: _thread._count() <= guide.threads_before)
    guide.say(f"""
        alpha took {took}. Then beta and gamma were stopped too. Threads left of the {at_work}:
        {_thread._count() - guide.threads_before}.
        """)
    guide.read(PeerTable.__init__, Node._shut_down, Session.close, Crew.wait)
    guide.so("""
        A program should end as carefully as it began. It says goodbye, waits a limited time for what
        still runs, and leaves nothing behind.
        """)
