"""The page in a real browser."""

import pytest

from tests.support import RawPeer, wait_until
from tests.support.chromium import CHROMIUM, Browser
from tests.support.page_node import PageNode, full_mesh

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(str(tmp_path_factory.mktemp("profile")))
    yield browser
    browser.close()


@pytest.fixture
def tab(browser):
    tab = browser.tab()
    yield tab
    tab.sock.close()


def url(page):
    return "http://127.0.0.1:%d/" % page.port


def text(tab, id):
    """Return the text of an element."""
    return tab.run("document.getElementById('%s').textContent" % id)


def count(tab, selector):
    return tab.run("document.querySelectorAll('%s').length" % selector)


def cells(tab):
    """Return the texts of the matrix, row by row, in one list."""
    return tab.run(
        "Array.prototype.map.call(document.querySelectorAll('#matrix tbody td'),"
        " function (td) { return td.textContent; })"
    )


def names(tab):
    return tab.run(
        "Array.prototype.map.call(document.querySelectorAll('#matrix tbody th .number + span'),"
        " function (span) { return span.textContent; })"
    )


def test_the_page_shows_real_nodes_and_soon_that_one_is_dead(make_node, serve, tab):
    """Matrix, graph, peers, events and verdicts stay up to date, and the console stays empty."""
    fast = {"ping_interval": 0.3, "ping_timeout": 0.6, "probe_interval": 0.3}
    first = make_node(name="node-1", **fast)
    others = [make_node(name="node-%d" % n, bootstrap=first, **fast) for n in (2, 3, 4)]
    page = serve(first)
    wait_until(lambda: all(len(node.peers()) == 3 for node in others))
    tab.open(url(page))
    wait_until(lambda: names(tab) == ["node-1", "node-2", "node-3", "node-4"])
    wait_until(lambda: len([c for c in cells(tab) if c[0].isdigit() or c == "ok"]) == 12)
    assert count(tab, "#nodes .node") == 4
    assert count(tab, "#peers tbody tr") == 3
    assert tab.run("document.getElementById('edges').getAttribute('d').split('M').length - 1") == 6
    # As after kill -9: no bye, and nothing listens any more.
    others[2]._listener.stop()
    for session in others[2]._sessions.all():
        session.cut()
    others[2]._connector.stop()
    wait_until(lambda: any(c.startswith("!") for c in cells(tab)), 20)
    wait_until(lambda: "node-4" in text(tab, "verdicts"))
    wait_until(lambda: count(tab, "#events li") > 0)
    assert tab.run("document.title").startswith("(")
    assert tab.complaints() == []


def test_a_hostile_name_is_shown_as_text(make_node, serve, tab):
    node = make_node(name="victim", ping_interval=0.3)
    tab.open(url(serve(node)))
    wait_until(lambda: text(tab, "state").startswith("live"))
    name = "<img src=x onerror=alert(1)>"
    with RawPeer.dial(node) as peer:
        peer.become_peer(name=name, version=1)
        peer.say("message", id=peer.nodeid, body="</script><script>alert(2)</script>", **{"from": peer.nodeid})
        wait_until(lambda: name in text(tab, "peers"))
        wait_until(lambda: "alert(2)" in text(tab, "events"))
        wait_until(lambda: "onerror" in text(tab, "matrix"))
    assert count(tab, "img, script") == 1
    assert not any(event["method"] == "Page.javascriptDialogOpening" for event in tab.events)
    assert tab.complaints() == []


def test_the_page_says_since_when_its_node_is_silent_and_recovers(serve, tab):
    node = PageNode(full_mesh(["a", "b", "c"]))
    page = serve(node)
    lost = "document.getElementById('lost').offsetHeight"
    tab.open(url(page))
    wait_until(lambda: cells(tab).count("0.3") == 6)
    assert not tab.run(lost)
    page.stop()
    wait_until(lambda: tab.run(lost))
    said = text(tab, "lost")
    assert "No answer from the node since" in said and said.count(":") == 2
    assert len(cells(tab)) == 9  # the last state stays
    serve(node, port=page.port)
    wait_until(lambda: not tab.run(lost))


def test_the_matrix_can_be_read_with_the_keyboard(serve, tab):
    rows = full_mesh(["a", "b", "c"])
    rows[0].links[1]["dial"] = "timeout"
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: "!T" in cells(tab))
    tab.press("Tab", 9)
    assert tab.run("document.activeElement.tagName") == "TD"
    tab.press("ArrowRight", 39)
    said = text(tab, "detail")
    assert said.startswith("a \u2192 c: dial failed (timed out)") and "the connection still stands" in said
    assert tab.run("document.activeElement.getAttribute('aria-label')") == said
    assert count(tab, '#matrix td[tabindex="0"]') == 1
    assert count(tab, "#matrix th:not([scope])") == 0


def test_the_legend_explains_every_mark(serve, tab):
    """Its words for failures are those of the node."""
    tab.open(url(serve()))
    wait_until(lambda: "0.3" in cells(tab))
    legend = text(tab, "legend")
    for entry in ("!Ttimed out", "!Rrefused", "!Xreset or wrong peer", "okcan be dialed", "?stale or unknown",
                  "!?unknown for too long"):
        assert entry in legend


def test_what_is_unknown_for_too_long_is_red_and_the_page_says_that_it_is_not_ok(serve, tab):
    rows = full_mesh(["a", "b", "c"])
    rows = [
        row._replace(probe_interval=5.0, links=tuple(dict(link, up_s=600.0) for link in row.links))
        for row in rows
    ]
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: text(tab, "state").startswith("live, ok, "))
    assert not tab.run("document.title").startswith("(")
    rows[0].links[1].update(direction="none", dial="unknown")
    rows[2].links[0].update(direction="none")
    wait_until(lambda: text(tab, "state").startswith("live, not ok, "))
    assert cells(tab)[2] == "!?"
    assert count(tab, "#matrix td.bad") == 1
    assert count(tab, "#verdicts li.unknown") == 1
    assert tab.run("document.title").startswith("(1!)")
    assert not tab.run("document.getElementById('broken').getAttribute('d')")  # no dial has failed
    assert tab.complaints() == []


def test_a_way_that_loses_packets_is_marked_and_described(serve, tab):
    """It is a warning.  Where a system does not count them, the page says that too."""
    rows = [row._replace(up_s=60.0) for row in full_mesh(["a", "b", "c"])]
    rows[0].links[0].update(loss_pct=9.8, loss_segs=300, loss_events=25)
    rows[2] = rows[2]._replace(loss_unmeasured=True)
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: "0.3*" in cells(tab))
    assert cells(tab).index("0.3*") == 1 and cells(tab).count("0.3*") == 1
    titles = tab.run(
        "Array.prototype.map.call(document.querySelectorAll('#matrix tbody td'),"
        " function (td) { return td.title; })"
    )
    assert "loses 9.8 % of the packets" in titles[1]
    assert "not measured" not in titles[3] and "lost packets not measured" in titles[6]
    assert count(tab, "#verdicts li.mild") == 1 and text(tab, "state").startswith("live, ok, ")
    assert "9.8 %" in text(tab, "peers")
    assert tab.complaints() == []


def test_a_way_on_which_large_packets_are_lost_is_a_failure(serve, tab):
    rows = full_mesh(["a", "b", "c"])
    rows[0].links[0].update(big="lost", big_passed=1400, big_lost=1401)
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: "!M" in cells(tab))
    assert cells(tab).index("!M") == 1 and cells(tab).count("!M") == 1
    assert "1,400 bytes do not pass a \u2192 b" in text(tab, "verdicts").replace("->", "\u2192")
    assert not text(tab, "state").startswith("live, ok")
    assert "large packets lost" in text(tab, "peers")
    assert tab.complaints() == []


def test_a_browser_without_event_sources_polls(serve, tab):
    rows = full_mesh(["a", "b", "c"])
    tab.call("Page.addScriptToEvaluateOnNewDocument", source="delete window.EventSource")
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: "0.3" in cells(tab))
    rows[1].links[0]["dial"] = "refused"
    wait_until(lambda: "!R" in cells(tab))
    assert tab.complaints() == []


def test_a_hundred_nodes_stay_usable(serve, tab):
    """An update of ten thousand cells does not freeze the page, and the names stay in sight."""
    rows = full_mesh(["node-%03d" % number for number in range(100)])
    tab.open(url(serve(PageNode(rows))))
    wait_until(lambda: count(tab, "#matrix td") == 10000)
    tab.run(
        "window.longest = 0; window.last = performance.now(); setInterval(function () {"
        "var now = performance.now(); longest = Math.max(longest, now - last); last = now; }, 5)"
    )
    state = text(tab, "state")
    for row in rows:
        row.links[0]["dial"] = "refused"
    # The browser takes a second to return all cells, and longer on a busy machine.
    wait_until(lambda: cells(tab).count("!R") == 100, 60.0)
    assert text(tab, "state") != state
    assert tab.run("longest") < 1000
    where = "document.querySelector('#matrix tbody tr:nth-child(90) th').getBoundingClientRect().left"
    before = tab.run(where)
    tab.run("document.querySelector('#matrix-box .scroll').scrollLeft = 500")
    assert tab.run(where) == before
    assert tab.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert tab.complaints() == []
