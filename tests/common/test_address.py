"""Addresses: our user's are read with patience, strangers' are not."""

import pytest

from p2p_plain.common.address import (
    Address, from_sockaddr, is_dialable, is_ip, is_loopback, is_shareable, parse, parse_wire, site,
)
from p2p_plain.common.errors import UsageError

# -- typed by people -----------------------------------------------------------


@pytest.mark.parametrize(
    "text, host, port",
    [
        ("192.0.2.1:80", "192.0.2.1", 80),
        ("  192.0.2.1:80\n", "192.0.2.1", 80),
        ("node-1.example.org:6000", "node-1.example.org", 6000),
        ("LocalHost:1", "localhost", 1),
        ("under_score:65535", "under_score", 65535),
        ("host:0", "host", 0),
        ("[2001:DB8:0:0::1]:80", "2001:db8::1", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1", 80),
        ("b\u00fccher.example:80", "b\u00fccher.example", 80),
    ],
)
def test_an_address_that_a_person_types_is_understood(text, host, port):
    assert parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text, host", [("192.0.2.1", "192.0.2.1"), ("node", "node"), ("::1", "::1"), ("[::1]", "::1")]
)
def test_a_missing_port_is_the_default(text, host):
    assert parse(text, 6000) == Address(host, 6000)


@pytest.mark.parametrize("text", ["192.0.2.1", "node", "::1", "[::1]"])
def test_a_missing_port_without_a_default_is_refused(text):
    with pytest.raises(UsageError, match="has no port"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":80",
        "host:",
        "host:-1",
        "host:+1",
        "host: 1",
        "host:65536",
        "host:100000",
        "host:8o",
        "host:\u0668\u0660",
        "host:\u00b2",
        "two words:80",
        "host/path:80",
        "user@host:80",
        "http://host:80",
        "a,b:80",
        "[::1",
        "[::1]80",
        "[]:80",
        "[192.0.2.1]:80",
        "h" * 254 + ":80",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_a_text_that_is_no_address_is_a_usage_error(text):
    with pytest.raises(UsageError):
        parse(text, 6000)


@pytest.mark.parametrize("text", ["10.0.0.1:6000:6001", "host::6000", "[a:b]:80", "a:b:c"])
def test_a_colon_too_many_is_a_usage_error(text):
    with pytest.raises(UsageError):
        parse(text, 6000)


def test_a_usage_error_names_the_setting_and_the_text():
    with pytest.raises(UsageError) as caught:
        parse("host:x", None, "bootstrap")
    assert caught.value.setting == "bootstrap"
    assert str(caught.value) == "bootstrap: 'x' in 'host:x' is not a port (0-65535)"


# -- sent by strangers --------------------------------------------------------


@pytest.mark.parametrize(
    "text, host, port",
    [
        ("192.0.2.1:6000", "192.0.2.1", 6000),
        ("192.0.2.1:0", "192.0.2.1", 0),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("[2001:db8::1]:6000", "2001:db8::1", 6000),
        ("[2001:DB8:0::0001]:6000", "2001:db8::1", 6000),
        ("[::ffff:192.0.2.1]:6000", "192.0.2.1", 6000),
        ("[::ffff:c000:201]:6000", "192.0.2.1", 6000),
    ],
)
def test_each_spelling_on_the_wire_gives_the_same_address(text, host, port):
    assert parse_wire(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        None,
        True,
        80,
        ["192.0.2.1:80"],
        b"192.0.2.1:80",
        "",
        ":80",
        "192.0.2.1",
        "192.0.2.1:",
        "192.0.2.1:65536",
        "192.0.2.1:-1",
        "192.0.2.1:1e3",
        "192.0.2.1:\u0668\u0660",
        " 192.0.2.1:80",
        "192.0.2.1:80 ",
        "192.0.2.1:80\n",
        "192.0.2:80",
        "192.0.2.256:80",
        "010.0.0.1:80",
        "0x7f.0.0.1:80",
        "2130706433:80",
        "\u0661.1.1.1:80",
        "localhost:80",
        "evil.example:80",
        "::1:80",
        "[::1]",
        "[::1",
        "[192.0.2.1]:80",
        "[fe80::1%eth0]:80",
        "192.0.2.1%eth0:80",
        "1" * 65000,
        "[" + ":" * 65000 + "]:80",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_anything_but_a_numeric_address_from_a_stranger_is_refused(text):
    """A name would make us ask a name server; a zone means nothing elsewhere."""
    with pytest.raises(ValueError):
        parse_wire(text)


@pytest.mark.parametrize("text", ["192.0.2.1:6000", "[2001:db8::1]:6000", "127.0.0.1:1"])
def test_an_address_is_written_as_it_is_read(text):
    assert str(parse_wire(text)) == text
    assert str(parse(text)) == text


# -- from a socket --------------------------------------------------------


@pytest.mark.parametrize(
    "sockaddr, address",
    [
        (("192.0.2.1", 80), Address("192.0.2.1", 80)),
        (("2001:db8::1", 80, 0, 0), Address("2001:db8::1", 80)),
        (("::ffff:192.0.2.1", 80, 0, 0), Address("192.0.2.1", 80)),
        (("fe80::1%eth0", 80, 0, 2), Address("fe80::1%eth0", 80)),
    ],
)
def test_socket_addresses_of_both_families_are_converted(sockaddr, address):
    assert from_sockaddr(sockaddr) == address


# -- which ones make sense ----------------------------------------------------


@pytest.mark.parametrize(
    "host, port, dialable, shareable",
    [
        ("192.0.2.1", 80, True, True),
        ("127.0.0.1", 80, True, True),
        ("10.0.0.1", 65535, True, True),
        ("169.254.1.1", 80, True, True),
        ("2001:db8::1", 80, True, True),
        ("::1", 80, True, True),
        ("fe80::1", 80, True, False),
        ("fe80::1%eth0", 80, True, False),
        ("node.example", 80, True, False),
        ("192.0.2.1", 0, False, False),
        ("2001:db8::1", 0, False, False),
        ("node.example", 0, False, False),
        ("0.0.0.0", 80, False, False),
        ("0.1.2.3", 80, False, False),
        ("::", 80, False, False),
        ("224.0.0.1", 80, False, False),
        ("239.255.255.255", 80, False, False),
        ("ff02::1", 80, False, False),
        ("255.255.255.255", 80, False, False),
    ],
)
def test_only_addresses_that_lead_somewhere_are_dialable_or_shareable(host, port, dialable, shareable):
    assert is_dialable(Address(host, port)) is dialable
    assert is_shareable(Address(host, port)) is shareable


@pytest.mark.parametrize("port", ["0", "80"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::ffff:0.0.0.0", "::ffff:e000:1", "::"])
def test_an_undialable_address_is_recognized_as_ipv6_too(host, port):
    text = ("[%s]:%s" if ":" in host else "%s:%s") % (host, port)
    assert not is_dialable(parse_wire(text))


@pytest.mark.parametrize(
    "host, loopback, numeric",
    [
        ("127.0.0.1", True, True),
        ("127.255.0.9", True, True),
        ("::1", True, True),
        ("localhost", True, False),
        ("LOCALHOST", True, False),
        ("128.0.0.1", False, True),
        ("fe80::1%eth0", False, True),
        ("localhost.example", False, False),
    ],
)
def test_loopback_and_numeric_hosts_are_recognized(host, loopback, numeric):
    assert is_loopback(host) is loopback
    assert is_ip(host) is numeric


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("2001:db8:0:7::1", "2001:db8:0:7:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:7::1", "2001:db8:0:8::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("::1", "::2", False),
        ("node.example", "other.example", False),
    ],
)
def test_ipv6_addresses_of_one_64_count_as_one(one, other, same):
    assert (site(one) == site(other)) is same
