"""The share of its time in which a server computes."""

import pytest

from propeller.service import busy
from propeller.service.busy import Busy


def test_idle_share(monkeypatch):
    now = [50.0]
    monkeypatch.setattr(busy.time, 'monotonic', lambda: now[0])
    one = Busy(workers=2)
    assert one.idle == 0
    for end, rows, seconds in ((54.0, 3, 4.0), (56.0, 5, 4.0), (60.0, 1, 2.0)):
        now[0] = end
        one.batch('m', rows, 10, 10, seconds)
    assert one.idle == pytest.approx(1 - 10 / 20)
    assert str(one) == '3 batches of 9 rows in 10.0 s each of 2 workers, from the first to the last; idle 50% of it'
