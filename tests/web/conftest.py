"""Status pages of nodes that are made up, and of real ones."""

import time

import pytest

from p2p_plain.common.threads import Crew
from p2p_plain.web.pages import StatusPage
from tests.support import PATIENCE
from tests.support.page_node import PageNode, full_mesh


@pytest.fixture
def crew():
    """Threads that all end by themselves, none of them with a bug."""
    complaints = []
    crew = Crew(complaints.append)
    yield crew
    assert crew.wait(time.monotonic() + PATIENCE) == 0
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def serve(crew):
    """``serve(node)``: its status page, on a free port of 127.0.0.1."""
    made = []

    def start(node=None, host=None, port=0):
        page = StatusPage(node or PageNode(full_mesh(["a", "b", "c"])), host, port, crew)
        made.append(page)
        page.start()
        return page

    yield start
    for page in made:
        page.stop()
