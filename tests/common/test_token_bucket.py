"""The token bucket: a burst after a silence, and then the rate."""

import pytest

from p2p_plain.common.token_bucket import TokenBucket


def test_the_bucket_lets_a_burst_through_and_then_the_rate():
    bucket = TokenBucket(200, 400, 0.0)
    assert bucket.spend(400, 0.0) == 0
    assert bucket.spend(1, 0.0) == pytest.approx(1 / 200)
    assert bucket.spend(199, 0.0) == pytest.approx(1.0)
    assert bucket.spend(0, 1.0) == 0
    assert bucket.spend(400, 1001.0) == 0
    assert bucket.spend(200, 1001.0) == pytest.approx(1.0)


def test_spare_is_what_can_be_spent_without_debt():
    bucket = TokenBucket(10, 20, 0.0)
    assert bucket.spare(0.0) == 20
    bucket.spend(25, 0.0)
    assert bucket.spare(0.4) == 0
    assert bucket.spare(0.65) == 1
    assert bucket.spare(1e9) == 20


def test_a_rate_of_zero_is_no_limit():
    assert TokenBucket(0, 0, 0.0).spend(10 ** 9, 0.0) == 0
