"""Checkpoints keep what hooks remember, or say whose state cannot be kept."""

import json
import math

import numpy as np
import pytest

from propeller.errors import UserError
from propeller.train.hook_states import restore_states, states_of
from propeller.train.hooks import RunHook, StopAtStepHook
from propeller.train.state import COUNT, checked


class Counter(RunHook):
    def __init__(self, state=None):
        self.state = {} if state is None else state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


class Named(Counter):
    state_name = 'my_name'


class Strict(Counter):
    def load_state_dict(self, state):
        self.state = checked(state, {'n': COUNT}, place='hooks.Strict.')


def through_json(states):
    return json.loads(json.dumps(states))


def test_every_hook_gets_its_own_back():
    before = [Counter({'a': 1}), StopAtStepHook(3), Named({'b': [1.5, None, 'ü']}), Counter({'a': 2}), Counter()]
    kept = through_json(states_of(before))
    assert sorted(kept) == ['Counter', 'Counter#2', 'my_name']  # the third Counter has nothing to keep
    after = [Counter(), StopAtStepHook(3), Named(), Counter(), Counter()]
    restore_states(after, kept, 'c/step_4')
    assert [hook.state for hook in after if isinstance(hook, Counter)] == [
        *({'a': 1}, {'b': [1.5, None, 'ü']}, {'a': 2}),
        {},
    ]


def test_tuples_and_infinities_are_kept():
    state = {'shape': (2, 3), 'best': -math.inf, 'worst': math.nan}
    hook = Counter()
    restore_states([hook], through_json(states_of([Counter(state)])), 'c')
    assert hook.state['shape'] == [2, 3] and hook.state['best'] == -math.inf and math.isnan(hook.state['worst'])


@pytest.mark.parametrize(
    'state',
    [
        {'seen': {1, 2}},
        {'value': np.float32(1)},
        {'array': np.zeros(2)},
        {'bytes': b'x'},
        {1: 'a key that would come back as text'},
        {'deep': {'er': {2: 3}}},
        {'text': '\ud800'},
        {'number': 1 << 70},
        [1, 2],
        None,
    ],
)
def test_what_json_cannot_keep_is_an_error_that_names_the_hook(state):
    hook = Counter()
    hook.state = state
    with pytest.raises(UserError, match=r'hook Counter#2: state_dict\(\): found '):
        states_of([Counter({'a': 1}), hook])


def test_a_state_that_is_missing_or_left_over_is_logged(caplog):
    restore_states([Counter({'n': 0}), StopAtStepHook(1)], {'Gone': {'a': 1}}, 'c/step_4')
    assert [record.getMessage() for record in caplog.records] == [
        'c/step_4: no state of hook Counter: it begins anew',
        'c/step_4: the state of hook Gone is not used: there is no such hook',
    ]


def test_a_state_that_the_hook_refuses_is_one_error():
    with pytest.raises(UserError, match=r"^c: found hooks.Strict.n 'x', expected a whole number"):
        restore_states([Strict()], {'Strict': {'n': 'x'}}, 'c')

    class Careless(Counter):
        def load_state_dict(self, state):
            self.state = state['gone']

    with pytest.raises(UserError, match=r"^c: hook .*Careless cannot take back its state \(KeyError: 'gone'\)"):
        restore_states([Careless()], {Careless.__qualname__: {}}, 'c')
