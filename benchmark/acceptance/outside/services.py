"""What servers are sent, and what they read when they start."""

import json
import os
import tempfile

import numpy as np

from benchmark.acceptance.mutations import mutate_json
from benchmark.acceptance.outside.registry import parser
from propeller.service import slots
from propeller.service.errors import ServiceError

_ARRAYS = [np.arange(6).reshape(2, 3), np.ones((2, 1), np.float32)]
_ERROR = ServiceError('overloaded', '满了', {'name': 'queue_tokens', 'value': 3, 'found': 4}, 2.5)


@parser('request of 2019', {'x': slots.encode(_ARRAYS) + slots.encode_options(2.5, 'a token')})
def _request(folder):
    content = (folder / 'x').read_bytes()
    slots.decode_options(content)
    slots.decode(content)


@parser('error of a server', {'x': slots.encode_error(_ERROR)})
def _error(folder):
    try:
        slots.decode((folder / 'x').read_bytes())
    except ServiceError as e:
        slots.encode_error(e)


def _operator(kind, name, place, sizes, number):
    attributes = [{'N': 'name', 'AT': {'#': '0.a_str', 'D': name}}, {'N': 'col', 'AT': {'#': '0.a_i32', 'D': place}}]
    return {'#': kind, 'A': attributes, 'O': [{'%': 1, 'TT': {'#': '0.t_dtensor', 'D': [{'#': number}, sizes]}}]}


_OPERATORS = [
    _operator('1.data', 'ids', 0, [-1, -1], '0.t_i64'),
    _operator('1.data', 'weights', 1, [-1, 3], '0.t_f32'),
    {'#': '1.matmul', 'A': [], 'O': []},
    _operator('1.fetch', 'scores', 0, [-1, 2], '0.t_f32'),
]
_MODEL = {'base_code': {'magic': 'pir'}, 'program': {'regions': [{'blocks': [{'ops': _OPERATORS}]}]}}


@parser('model.json of an export', {'model.json': json.dumps(_MODEL).encode()}, mutate_json)
def _description(folder):
    from propeller.service.description import read_description

    read_description(str(folder)).check(_ARRAYS[:1] + [np.ones((2, 3), np.float32)])


def _certificate():
    from zmq.auth import create_certificates

    with tempfile.TemporaryDirectory() as folder, open(create_certificates(folder, 'x')[1], 'rb') as f:
        return f.read()


@parser('CURVE keys', {'x.key_secret': _certificate()})
def _keys(folder):
    from propeller.service.security import Security

    os.chmod(folder / 'x.key_secret', 0o600)
    Security(secret_key_file=str(folder / 'x.key_secret'))
