"""Settings: defaults, and errors that name the setting."""

import os
import pathlib

import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.config import DEFAULT_PORT, MAX_NAME, Config
from p2p_plain.common.errors import UsageError


def test_the_defaults_are_those_of_the_documents():
    config = Config()
    assert config.port == DEFAULT_PORT == 6000
    assert config.bind is None
    assert config.bootstrap == ()
    assert config.advertise is None
    assert config.name is None
    assert config.network == ""
    assert (config.ping_interval, config.ping_timeout, config.probe_interval) == (60, 20, 60)
    assert (config.max_peers, config.max_per_ip, config.max_rate) == (256, 32, 200)
    assert config.peers_file is None


@pytest.mark.parametrize(
    "setting, value",
    [
        ("port", -1),
        ("port", 65536),
        ("port", 80.5),
        ("port", True),
        ("port", "80"),
        ("port", None),
        ("port", float("nan")),
        ("ping_interval", 0),
        ("ping_interval", -1),
        ("ping_interval", float("inf")),
        ("ping_timeout", float("nan")),
        ("ping_timeout", 0.0),
        ("ping_timeout", True),
        ("probe_interval", "60"),
        ("probe_interval", 1e300),
        ("max_peers", 0),
        ("max_peers", -5),
        ("max_peers", 2.5),
        ("max_per_ip", 0),
        ("max_rate", -1),
        ("max_rate", float("inf")),
        ("max_rate", False),
        ("name", ""),
        ("name", "x" * (MAX_NAME + 1)),
        ("name", "two\nlines"),
        ("name", "\x1b[31mred"),
        ("name", "\u202eright to left"),
        ("name", 5),
        ("name", " "),
        ("name", "\u2800\u3164"),
        ("network", "x" * 65),
        ("network", "\x00"),
        ("network", None),
        ("bind", ""),
        ("bind", "  "),
        ("bind", 6000),
        ("bind", "not an address"),
        ("advertise", "host:0"),
        ("advertise", "0.0.0.0:6000"),
        ("advertise", "[::]:6000"),
        ("advertise", "224.0.0.1:6000"),
        ("advertise", "host:port"),
        ("advertise", 6000),
        ("bootstrap", "host:0"),
        ("bootstrap", "0.0.0.0"),
        ("bootstrap", "[ff02::1]:6000"),
        ("bootstrap", "255.255.255.255:6000"),
        ("bootstrap", "host:x"),
        ("bootstrap", ["good:1", "bad:x"]),
        ("bootstrap", [6000]),
        ("bootstrap", 6000),
        ("bootstrap", False),
        ("bootstrap", [None]),
        ("bootstrap", b"host:1"),
        ("bootstrap", ("host", 1)),
        ("bootstrap", [("host", 1)]),
        ("secret_file", []),
        ("secret_file", iter(())),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(setting, value):
    with pytest.raises(UsageError) as caught:
        Config(**{setting: value})
    assert caught.value.setting == setting
    assert str(caught.value).startswith(setting + ": ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["port", "ping_interval", "max_peers", "max_rate"])
def test_a_number_too_large_for_a_float_is_a_usage_error_too(setting):
    with pytest.raises(UsageError):
        Config(**{setting: 10 ** 400})


def test_a_whole_number_may_come_as_a_float():
    config = Config(port=6001.0, max_peers=3.0)
    assert (config.port, config.max_peers) == (6001, 3)
    assert isinstance(config.port, int)


def test_0_stands_for_any_port_and_for_no_limit():
    config = Config(port=0, max_rate=0)
    assert (config.port, config.max_rate) == (0, 0)


def test_a_name_may_be_as_long_as_the_wire_takes():
    assert Config(name="\u00e9" * MAX_NAME).name == "\u00e9" * MAX_NAME


@pytest.mark.parametrize(
    "given",
    [
        "a:1,b:2",
        "a:1, b:2,",
        ["a:1", "b:2"],
        ("a:1,b:2", "a:1"),
        iter(["A:1", "b:2", ""]),
        [Address("a", 1), "b:2"],
    ],
)
def test_bootstrap_may_be_repeated_or_separated_by_comma(given):
    assert Config(bootstrap=given).bootstrap == (Address("a", 1), Address("b", 2))


def test_a_peers_file_may_be_a_path_object():
    assert Config(peers_file=pathlib.PurePosixPath("a/b")).peers_file == "a/b"


@pytest.mark.parametrize("name", ["network.key", "./network.key", "link", "hard link"])
def test_a_secret_is_no_place_for_the_address_book(tmp_path, monkeypatch, name):
    """The node would take the key for a damaged address book, and move it away."""
    monkeypatch.chdir(str(tmp_path))
    (tmp_path / "network.key").write_text("")
    os.symlink("network.key", "link")
    os.link("network.key", "hard link")
    with pytest.raises(UsageError, match="is a key file; give the address book"):
        Config(peers_file=name, secret_file=["next.key", "network.key"])
    assert Config(peers_file="peers.json", secret_file="network.key").peers_file == "peers.json"


def test_a_bootstrap_host_without_a_port_has_our_own():
    assert Config(port=7000, bootstrap="a").bootstrap == (Address("a", 7000),)
    assert Config(port=0, bootstrap="a").bootstrap == (Address("a", DEFAULT_PORT),)


@pytest.mark.parametrize(
    "given, address",
    [
        ("node.example:7000", Address("node.example", 7000)),
        ("node.example", Address("node.example", 6001)),
        ("[2001:db8::1]:7000", Address("2001:db8::1", 7000)),
    ],
)
def test_advertise_has_our_port_unless_it_gives_one(given, address):
    assert Config(port=6001, advertise=given).advertise == address


@pytest.mark.parametrize(
    "given, host",
    [("127.0.0.1", "127.0.0.1"), ("::", "::"), ("[::1]", "::1"), ("0.0.0.0", "0.0.0.0")],
)
def test_bind_takes_any_address_of_this_machine(given, host):
    assert Config(bind=given).bind == host


def test_a_misspelt_setting_is_refused():
    with pytest.raises(TypeError):
        Config(prot=6000)
