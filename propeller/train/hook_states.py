"""State of the hooks of a training, as checkpoints keep it."""

import json

from propeller.errors import UserError, bad_input
from propeller.inputs import parse_json
from propeller.log import get_logger

log = get_logger(__name__)


def by_name(hooks):
    """dict name -> hook, in their order.

    A hook's name is its `state_name`, else that of its class; the second one of a name gets `#2` after it, and so on.
    """
    named, seen = {}, {}
    for hook in hooks:
        name = getattr(hook, 'state_name', None) or type(hook).__qualname__
        seen[name] = seen.get(name, 0) + 1
        named[name if seen[name] == 1 else f'{name}#{seen[name]}'] = hook
    return named


def states_of(hooks):
    """dict name -> state of each hook that has one, for `training_state.json`.

    Raises:
        UserError: a state is no dict, or holds what JSON does not give back as it was; names the hook.
    """
    states = {name: hook.state_dict() for name, hook in by_name(hooks).items()}
    for name, state in states.items():
        _check(name, state)
    return {name: state for name, state in states.items() if state}


def _check(name, state):
    what = f'hook {name}: state_dict()'
    if not isinstance(state, dict):
        raise bad_input(what, f'a {type(state).__name__}', 'a dict that JSON can keep')
    try:
        text = json.dumps(state)
        given_back = parse_json(text, what, finite=False)
    except (TypeError, ValueError, RecursionError) as e:  # UserError, of what is refused when it is read, is one
        raise UserError(f'{what}: found what JSON cannot keep ({e}), expected numbers, texts, lists, dicts.') from e
    if not _has_text_keys(state) or json.dumps(given_back) != text:
        raise bad_input(what, 'a dict with keys that are no texts', 'what JSON gives back as it was')


def _has_text_keys(value):
    if isinstance(value, dict):
        return all(isinstance(key, str) and _has_text_keys(item) for key, item in value.items())
    return all(map(_has_text_keys, value)) if isinstance(value, list | tuple) else True


def restore_states(hooks, states, source):
    """Give the hooks what `states_of` kept of them. A hook without a state, and a state without a hook, is logged.

    Args:
        hooks: list of `RunHook`.
        states: dict name -> state.
        source: the checkpoint, for messages.
    Raises:
        UserError: a hook cannot take its state back; names the hook.
    """
    named = by_name(hooks)
    for name, hook in named.items():
        if name in states:
            try:
                hook.load_state_dict(states[name])
            except UserError as e:
                raise UserError(f'{source}: {e}') from None
            except (KeyError, TypeError, ValueError, AttributeError, IndexError) as e:
                reason = f'{type(e).__name__}: {e}'
                raise UserError(f'{source}: hook {name} cannot take back its state ({reason}).') from e
        elif hook.state_dict():
            log.warning('%s: no state of hook %s: it begins anew', source, name)
    for name in sorted(states.keys() - named.keys()):
        log.warning('%s: the state of hook %s is not used: there is no such hook', source, name)
