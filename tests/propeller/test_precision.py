import math

import pytest

from propeller.errors import UsageError
from propeller.train.precision import LossScale


def scales(loss_scale, outcomes):
    """The scale after each update; outcomes: a string, `.` for a good one, `x` for an overflow."""
    result = []
    for outcome in outcomes:
        loss_scale.update(outcome == '.')
        result.append(loss_scale.scale)
    return result


def test_it_grows_with_the_good_update_after_so_many():
    assert scales(LossScale(8, incr_every=2), '......') == [8, 8, 16, 16, 16, 32]
    assert scales(LossScale(8, incr_every=2), '..x..x') == [8] * 6


def test_it_shrinks_with_the_overflow_after_so_many_in_a_row():
    assert scales(LossScale(10, decr_every=2), 'xxxxxx') == [10, 10, 8, 8, 8, 6.4]
    assert scales(LossScale(10, decr_every=2), 'xx.xx.') == [10] * 6
    assert scales(LossScale(1.1, decr_every=0), 'xx') == [1, 1]


def test_it_stays_in_the_range_of_float32():
    loss_scale = LossScale(2.0**126, incr_every=0)
    assert scales(loss_scale, '...') == [2.0**127] * 3
    assert loss_scale.good == 0


def test_a_static_scale_stays():
    assert scales(LossScale(4, dynamic=False, incr_every=0, decr_every=0), '..xx') == [4] * 4


def test_it_goes_on_where_it_was():
    first, second = LossScale(8, incr_every=3), LossScale(1, incr_every=3)
    scales(first, '..x.')
    second.load_state_dict(first.state_dict())
    assert scales(second, '....') == scales(first, '....') == [8, 8, 16, 16]


@pytest.mark.parametrize(
    ('setting', 'flag'),
    [
        ({'initial': 0.5}, 'init_loss_scaling 0.5'),
        ({'initial': math.inf}, 'init_loss_scaling inf'),
        ({'incr_every': -1}, 'incr_every_n_steps -1'),
        ({'decr_every': -1}, 'decr_every_n_nan_or_inf -1'),
        ({'incr_ratio': 0.5}, 'incr_ratio 0.5'),
        ({'decr_ratio': 0.0}, 'decr_ratio 0.0'),
    ],
)
def test_values_that_cannot_be(setting, flag):
    with pytest.raises(UsageError, match=flag):
        LossScale(**setting)
