"""The token bucket: a burst, and then the rate."""

import pytest

from p2p_plain.common.token_bucket import TokenBucket


def test_a_burst_is_free_and_then_debts_are_repaid_at_the_rate():
    bucket = TokenBucket(200, 400, 0.0)
    assert bucket.spend(400, 0.0) == 0
    assert bucket.spend(1, 0.0) == pytest.approx(1 / 200)
    assert bucket.spend(199, 0.0) == pytest.approx(1.0)
    assert bucket.spend(0, 1.0) == 0
    assert bucket.spend(400, 1001.0) == 0
    assert bucket.spend(200, 1001.0) == pytest.approx(1.0)


def test_spare_returns_how_much_can_be_spent_without_debt():
    bucket = TokenBucket(10, 20, 0.0)
    assert bucket.spare(0.0) == 20
    bucket.spend(25, 0.0)
    assert bucket.spare(0.4) == 0
    assert bucket.spare(0.65) == 1
    assert bucket.spare(1e9) == 20


def test_a_rate_of_zero_is_no_limit():
    assert TokenBucket(0, 0, 0.0).spend(10 ** 9, 0.0) == 0
