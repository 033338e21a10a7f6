"""The wire between launchers: JSON objects, one per line, over TCP. Whatever else arrives is `Garbage`.

With a secret (`PROPELLER_SECRET`), each line begins with the HMAC-SHA256 of its object, in hexadecimal, and a space.
"""

import asyncio
import contextlib
import dataclasses
import hmac
import json
import re
import time

from propeller.errors import UserError, one_line
from propeller.inputs import parse_json
from propeller.log import get_logger

log = get_logger(__name__)

SECRET = 'PROPELLER_SECRET'
LONGEST_LINE = 1 << 16
_LONGEST_TEXT = 1000
_SIGNED = re.compile(rb'([0-9a-f]{64}) (.*)', re.DOTALL)


class Garbage(Exception):
    """What arrived is no message."""


class WrongSecret(Garbage):
    """What arrived is signed with another secret, or one side has a secret and the other has none."""


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


def encode(message, secret=b''):
    """The line of a message, a dict."""
    content = json.dumps(message).encode()
    return (_signature(content, secret) + b' ' if secret else b'') + content + b'\n'


def _signature(content, secret):
    return hmac.digest(secret, content, 'sha256').hex().encode()


class Lines:
    """Cuts a stream of bytes into messages that bear the signature of `secret`; without one, none."""

    def __init__(self, secret=b''):
        self._rest, self._secret = b'', secret

    def feed(self, chunk):
        """The messages that are complete with `chunk`, as dictionaries. `Garbage`, or `WrongSecret`, for the rest."""
        *lines, self._rest = (self._rest + chunk).split(b'\n')
        if len(self._rest) > LONGEST_LINE:
            raise Garbage('an endless line')
        return [self._message(line) for line in lines]

    def _message(self, line):
        signed = _SIGNED.fullmatch(line)
        try:
            message = parse_json(signed[2] if signed else line, 'a message', finite=False)
        except UserError as e:
            raise Garbage(str(e)) from e
        if not isinstance(message, dict):
            raise Garbage(f'found {type(message).__name__}')
        if bool(signed) != bool(self._secret):
            raise WrongSecret('a signature where there should be none, or none where there should be one')
        if signed and not hmac.compare_digest(signed[1], _signature(signed[2], self._secret)):
            raise WrongSecret('a signature of another secret')
        return message


class Connection(asyncio.Protocol):
    """A connection to another launcher.

    Args:
        owner: its methods are called: `on_connected(connection)`, `on_message(connection, message)`,
            `on_wrong_secret(connection)` and `lose(connection, reason)`.
        secret: see the head of this file.

    Attributes:
        address: `host:port` of the other side.
        node: index of its node; None until it has said so.
        retired: what comes through it no longer counts.
        opened, heard: monotonic seconds of its beginning and of the last sign of life.
    """

    def __init__(self, owner, secret=b''):
        self._owner, self._secret, self._lines = owner, secret, Lines(secret)
        self.node, self.retired = None, False

    def connection_made(self, transport):
        self._transport = transport
        self.address = '{}:{}'.format(*(transport.get_extra_info('peername') or ('unknown', 0))[:2])
        self.heard = self.opened = time.monotonic()
        self._owner.on_connected(self)

    def data_received(self, data):
        self.heard = time.monotonic()
        try:
            for message in self._lines.feed(data):
                if not self.retired:
                    self._owner.on_message(self, message)
        except WrongSecret:
            self._owner.on_wrong_secret(self)
            self._owner.lose(self, 'another secret')
        except Garbage as e:
            log.debug('%s sent no message of a launcher: %s', self.address, e)
            self._owner.lose(self, 'garbage received')

    def connection_lost(self, error):
        self._owner.lose(self, getattr(error, 'strerror', None) or 'closed by the other side')

    def send(self, message, signed=True):
        self._transport.write(encode(message, self._secret if signed else b''))

    def retire(self):
        """Nothing follows; the connection stays until the other side has read everything and closes."""
        self.retired = True
        with contextlib.suppress(OSError):  # broken
            self._transport.write_eof()

    def abort(self):
        self.retired = True
        self._transport.abort()


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
