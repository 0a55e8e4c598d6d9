"""``tour``: the command, and the list of scenes.  Main thread only.

What a scene says has been taken from the nodes: their events, their traced lines, their tables.
If something does not happen in time, the tour says so and ends with exit code 1.
"""

from ..common.errors import CannotStart
from ..common.machine import descriptors
from ..common.options import Parser, one_file, program
from ..common.program import DONE, NO
from ..common.typing import List
from .door import knocking
from .guide import Guide
from .meeting import at_once, dialing, discovery, listening, oneself
from .reader import Enough, Reader
from .trouble import dying, lying
from .whole import reaching, stopping

DESCRIPTORS = 64
"""Open files and sockets that the tour needs.  It has some 30 at once, but each node accepts only
as many peers as there is room for beside 32 others (``node.RESERVED_DESCRIPTORS``)."""

SCENES = (
    ("A node listens", listening),
    ("A second node dials it", dialing),
    ("A third one hears of the second", discovery),
    ("A node that calls itself", oneself),
    ("Two dial each other at the same moment", at_once),
    ("One that dies", dying),
    ("One that lies", lying),
    ("A stranger at the door", knocking),
    ("Who can reach whom", reaching),
    ("Stopping", stopping),
)


def tour(argv: List[str]) -> int:
    """Play the scenes, all or as many as the reader wants; returns the exit code.

    That is ``NO`` if something did not happen.  Raises ``CannotStart`` if a node cannot start.
    """
    parser = Parser(
        program() + " tour",
        "A guided tour for people who have never opened a socket: three nodes on this\n"
        "machine, what they send to each other, and where in the source that happens.\n"
        "It takes a quarter of an hour.",
        "example:\n  %s tour --fast | less" % program(),
    )
    parser.add_argument("--fast", action="store_true", help="do not wait for Enter")
    fast = parser.parse_args(argv).fast
    if descriptors() < DESCRIPTORS:
        raise CannotStart(
            "the tour needs %d open files at once, and the system allows %d; see ulimit -n"
            % (DESCRIPTORS, descriptors())
        )
    with Reader(fast) as reader, Guide(reader) as guide:
        try:
            return _play(guide)
        except Enough:
            return DONE


def _play(guide: Guide) -> int:
    guide.say("""
        Three nodes will run in this program and talk to each other over this machine's own
        network, as they would over a real one. Every line, number, name and thread that you
        see comes from what they do at that moment.
        """)
    if one_file():
        guide.say(f"""
            {one_file()} has no comments. To read the source, use the folder that it was
            made from: the same code is on the same lines there.
            """)
    for number, (title, scene) in enumerate(SCENES, 1):
        if not guide.play("%d of %d: %s" % (number, len(SCENES), title), scene):
            return NO
    guide.say(f"""
        The tour is over. Next, start one node in a terminal and another one in a second terminal, and
        watch them. Then read the source, in the order that "{program()} help architecture" gives.
        """)
    guide.text(["    %s --port 6000" % program()])
    guide.text(["    %s --port 6001 --bootstrap 127.0.0.1:6000 --trace" % program()])
    return DONE
