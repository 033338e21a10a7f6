"""`PROPELLER_DISCONFIG`, by which programs of 2019 say which processes make a job.

    {"cluster": {"chief": ["10.0.0.1:6170"], "worker": ["10.0.0.2:6170"]}, "task": {"type": "worker", "index": 0}}

It is the path of a file or the dictionary itself. Each process has its own `task`; all have the same `cluster`. Chiefs
come before workers; the first one writes logs and files.
"""

import re

from propeller.config import parse_setting
from propeller.errors import UserError, bad_input, did_you_mean, quoted

VARIABLE = 'PROPELLER_DISCONFIG'
ROLES = ('chief', 'worker')
_EXPECTED = '{"cluster": {"chief": ["HOST:PORT"], "worker": [...]}, "task": {"type": "chief", "index": 0}}'


def launcher_variables(environ):
    """What `PROPELLER_DISCONFIG` says, as the variables that a launcher sets.

    Args:
        environ: mapping.
    Returns:
        dict of `PADDLE_*` variables; {} where it is not set.
    Raises:
        UserError: it cannot be read, is no such dictionary, names an address twice, or contradicts a launcher.
    """
    text = environ.get(VARIABLE)
    if text is None:
        return {}
    addresses, rank = _job(parse_setting(text, VARIABLE))
    variables = {
        'PADDLE_TRAINERS_NUM': str(len(addresses)),
        'PADDLE_TRAINER_ID': str(rank),
        'PADDLE_TRAINER_ENDPOINTS': ','.join(addresses),
        'PADDLE_CURRENT_ENDPOINT': addresses[rank],
    }
    for name, value in variables.items():
        found = environ.get(name, value)
        if found != value and environ.get('PADDLE_TRAINERS_NUM', '1') != '1':
            advice = f'A launcher has set {name}: unset {VARIABLE}, or start the processes without a launcher.'
            raise bad_input(VARIABLE, f'{name} {quoted(value)}', f'{quoted(found)} as in the environment', None, advice)
    return variables


def _job(config):
    """(addresses of all processes, number of this one)."""
    cluster, task = (_dictionary(config, name) for name in ('cluster', 'task'))
    for role in cluster:
        if role not in ROLES:
            raise _wrong(f'the role {quoted(role)} in cluster', f'chief or worker.{did_you_mean(str(role), ROLES)}')
    members = [(role, index) for role in ROLES for index in range(len(_addresses(cluster, role)))]
    addresses = [address for role in ROLES for address in _addresses(cluster, role)]
    twice = [address for i, address in enumerate(addresses) if address in addresses[:i]]
    if twice:
        raise _wrong(f'{quoted(twice[0])} twice', 'another address for each process')
    own = (task.get('type'), _whole(task.get('index')))
    if own not in members:
        known = ', '.join(f'{role} {index}' for role, index in members)
        raise _wrong(f'task type {quoted(own[0])}, index {quoted(task.get("index"))}', f'one of the cluster: {known}')
    return addresses, members.index(own)


def _dictionary(config, name):
    value = config.get(name)
    if not isinstance(value, dict):
        raise _wrong(f'{quoted(value)} as {name}' if name in config else f'no {name}', _EXPECTED)
    return value


def _addresses(cluster, role):
    found = cluster.get(role, [])
    if not isinstance(found, list | tuple) or (role == 'chief' and not found):
        raise _wrong(f'{quoted(found)} as {role}', 'a list of HOST:PORT')
    for address in found:
        match = re.fullmatch(r'([^\s:,]+):(\d{1,5})', address) if isinstance(address, str) else None
        if not match or not 0 < int(match[2]) < 1 << 16:
            raise _wrong(f'the address {quoted(address)} of a {role}', 'HOST:PORT')
    return list(found)


def _whole(value):
    """An index, which programs of 2019 wrote as a text too."""
    if isinstance(value, str) and re.fullmatch(r'\d{1,6}', value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _wrong(found, expected):
    return UserError(f'{VARIABLE}: found {found}, expected {expected}' + ('' if expected.endswith('?') else '.'))
