"""What launchers say to each other: JSON objects, one per line, over TCP. Whatever else arrives is `Garbage`."""

import dataclasses
import json

from propeller.errors import UserError, one_line
from propeller.inputs import parse_json

LONGEST_LINE = 1 << 16
_LONGEST_TEXT = 1000


class Garbage(Exception):
    """What arrived is no message."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a job ends or begins again.

    Attributes:
        text: the line for the user.
        code: exit code of the launchers, 1 to 255.
        restartable: False for what would only happen again, or is wanted.
        signal: the number of the signal by which somebody asked the job to end, else 0.
    """

    text: str
    code: int
    restartable: bool = True
    signal: int = 0

    def to_message(self):
        return {'failed': dataclasses.asdict(self)}

    @classmethod
    def from_message(cls, message):
        fields = message['failed']
        if not isinstance(fields, dict) or fields.keys() != {'text', 'code', 'restartable', 'signal'}:
            raise Garbage('a failure with other fields')
        if not isinstance(fields['text'], str) or not isinstance(fields['restartable'], bool):
            raise Garbage('a failure with other types')
        if not is_integer(fields['code'], 1, 255) or not is_integer(fields['signal'], 0, 64):
            raise Garbage('a failure with an impossible number')
        return cls(**fields | {'text': one_line(fields['text'], _LONGEST_TEXT)})


def is_integer(value, low, high):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def encode(message):
    return json.dumps(message).encode() + b'\n'


class Lines:
    """Cuts a stream of bytes into messages."""

    def __init__(self):
        self._rest = b''

    def feed(self, chunk):
        """The messages that are complete with `chunk`, as dictionaries. `Garbage` for anything else."""
        *lines, self._rest = (self._rest + chunk).split(b'\n')
        if len(self._rest) > LONGEST_LINE:
            raise Garbage('an endless line')
        return [_decode(line) for line in lines]


def _decode(line):
    try:
        message = parse_json(line, 'a message', finite=False)
    except UserError as e:
        raise Garbage(str(e)) from e
    if not isinstance(message, dict):
        raise Garbage(f'found {type(message).__name__}')
    return message


def disagreement(facts, other, node):
    """The line about launchers with different settings, None if there is no difference.

    Args:
        facts: settings of node 0, flag -> value.
        other: settings of node `node`, as received.
    """
    different = [
        f'{name} is {value} on node 0 and {one_line(other.get(name), _LONGEST_TEXT)} on node {node}'
        for name, value in facts.items()
        if value != other.get(name)
    ]
    return f'the launchers disagree: {"; ".join(different)}. Give all the same flags.' if different else None
