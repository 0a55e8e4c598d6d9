"""Errors: one tree, and the classes of Python that a caller would expect."""

from p2p_plain.common import errors


def test_one_except_clause_catches_every_error():
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(found) > 9
    assert all(issubclass(error, errors.P2PError) for error in found)


def test_errors_of_the_caller_are_also_those_of_python():
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(errors.MessageTooLong, ValueError)
    assert issubclass(errors.NotConnected, LookupError)
    assert issubclass(errors.NotRunning, RuntimeError)


def test_a_misbehaving_peer_is_refused_for_protocol():
    error = errors.PeerMisbehaved("a second hello")
    assert (error.reason, error.detail) == ("protocol", "a second hello")


def test_why_returns_the_systems_own_words_without_its_number():
    assert errors.why(OSError(13, "Permission denied")) == "Permission denied"
    assert errors.why(UnicodeError("label too long")) == "label too long"
