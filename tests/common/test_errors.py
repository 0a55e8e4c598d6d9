"""Errors: one tree, and each says what went wrong and whose fault it is."""

import pytest

from p2p_plain.common import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.UsageError("port", "is no port"),
        errors.CannotStart("port taken"),
        errors.NotConnected("no peer"),
        errors.PeerBusy("does not read"),
        errors.MessageTooLong("70000 bytes"),
        errors.Refused("full"),
        errors.PeerMisbehaved("not JSON"),
        errors.PeerLeft("stopping"),
        errors.DialFailed("refused"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_can_be_caught_as_one_and_says_something(error):
    assert isinstance(error, errors.P2PError)
    assert str(error)


def test_those_of_the_caller_are_also_what_python_calls_them():
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(errors.MessageTooLong, ValueError)
    assert issubclass(errors.NotConnected, LookupError)


def test_a_misbehaving_peer_is_refused_for_protocol():
    error = errors.PeerMisbehaved("a second hello")
    assert (error.reason, error.detail) == ("protocol", "a second hello")


def test_why_is_the_systems_own_words_without_its_number():
    assert errors.why(OSError(13, "Permission denied")) == "Permission denied"
    assert errors.why(UnicodeError("label too long")) == "label too long"
