"""Who may ask: a token, compared in constant time, and keys of CURVE for ZeroMQ."""

import hmac
import os
import struct

from propeller.errors import UsageError, UserError, bad_input
from propeller.inputs import read_text
from propeller.optional import optional_package
from propeller.service.errors import ServiceError

TOKEN_VARIABLE = 'PROPELLER_AUTH_TOKEN'
_SHORTEST_TOKEN, _LARGEST_FILE = 8, 4096


class Security:
    """What a client must show.

    Args:
        token: None, or text that comes with each request.
        secret_key_file: None, or file of a CURVE key pair, as `zmq.auth.create_certificates` writes it
            (`NAME.key_secret`). ZeroMQ connections are encrypted then; others are refused.
        client_keys: None, or folder of the public keys (`NAME.key`) of clients that are let in. None: any.
    Raises:
        UserError: a file cannot be used.
    """

    def __init__(self, token=None, secret_key_file=None, client_keys=None):
        if token is not None:
            _check_token(token, '--auth_token')
        if client_keys is not None and secret_key_file is None:
            raise UsageError('--curve_client_keys needs --curve_secret_key.')
        self.token = token
        self._keys = None if secret_key_file is None else load_keys(secret_key_file, secret=True)
        self._client_keys, self._authenticator = client_keys, None
        self._clients = None if client_keys is None else _client_keys(client_keys)

    def is_token(self, token):
        """Whether this is the token; True where there is none. Takes as long for a wrong one as for the right one."""
        if self.token is None:
            return True
        found = token.encode(errors='replace') if isinstance(token, str) else b''
        return hmac.compare_digest(found, self.token.encode())

    def check(self, token, message):
        """Refuse a request without the token. token: what the request shows. message: its kind, in words.

        Raises:
            ServiceError: 'unauthorized'.
        """
        if not self.is_token(token):
            found = 'no token' if token is None else 'another token'
            raise ServiceError('unauthorized', f'{message} with {found}; this server has one (--auth_token).')

    def protect(self, socket):
        """Have a ZeroMQ socket, before it is bound, take encrypted connections only. Nothing without keys."""
        if self._keys is None:
            return
        socket.curve_publickey, socket.curve_secretkey = self._keys
        socket.curve_server = True
        if self._clients is not None:
            from zmq.auth.asyncio import AsyncioAuthenticator

            self._authenticator = AsyncioAuthenticator(socket.context)
            self._authenticator.start()
            self._authenticator.certs['*'] = dict.fromkeys(self._clients, True)

    def release(self):
        """End what `protect` began."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None


def read_token(text=None, file=None, of_server=False):
    """The token of a server or a client: of the flag, a file, or the environment; None where there is none.

    Args:
        text: of `--auth_token`; other users of the machine can see it in the list of processes.
        file: of `--auth_token_file`; its first line.
        of_server: whether a token that `Security` refuses is refused here, where it is known who says it.
    Raises:
        UserError: the file cannot be read, or has none.
        UsageError: both are given; of a server: it is too short, or not ASCII.
    """
    if text is not None and file is not None:
        raise UsageError('--auth_token and --auth_token_file: expected one of them.')
    source = '--auth_token'
    if file is not None:
        text, source = read_text(file, _LARGEST_FILE, 'a token').strip(), file
        if not text:
            raise bad_input(file, 'an empty file', 'a token')
    elif text is None:
        text, source = os.environ.get(TOKEN_VARIABLE) or None, TOKEN_VARIABLE
    if of_server and text is not None:
        _check_token(text, source)
    return text


def _check_token(token, source):
    is_plain = token.isascii() and token.isprintable()
    if not is_plain or len(token) < _SHORTEST_TOKEN:
        found = f'a token of {len(token)} characters' if is_plain else 'a token of other characters'
        expected = f'{_SHORTEST_TOKEN} or more printable ASCII characters'
        raise UsageError(f'{source}: found {found}, expected {expected}.')


def load_keys(file, secret=False):
    """(public key, secret key or None) of a CURVE certificate, as `zmq.auth.create_certificates` writes it.

    Raises:
        UserError: it is none, or has no secret key where one is needed.
    """
    auth, zmq = (optional_package(name, 'CURVE', 'pyzmq') for name in ('zmq.auth', 'zmq'))
    z85 = optional_package('zmq.utils.z85', 'CURVE', 'pyzmq')
    text = read_text(file, _LARGEST_FILE, 'a CURVE certificate')
    if secret and os.stat(file).st_mode & 0o077:
        raise bad_input(file, 'a secret key that others may read', 'one for its owner', advice=f'chmod 600 {file}')
    try:
        public, private = auth.load_certificate(file)
        valid = 'curve' in text and all(len(z85.decode(key)) == 32 for key in (public, private or public))
    except (ValueError, LookupError, OSError, struct.error):
        valid = False
    if not valid:
        raise bad_input(file, 'no CURVE certificate', 'what zmq.auth.create_certificates writes')
    if private is not None and zmq.curve_public(private) != public:
        raise bad_input(file, 'the secret key of another public key', 'two keys of one pair')
    if secret and private is None:
        raise bad_input(file, 'no secret key', 'a file NAME.key_secret')
    return public, private


def _client_keys(folder):
    if not os.path.isdir(folder):
        raise bad_input(folder, 'no folder', 'a folder of public keys (NAME.key)')
    names = sorted(name for name in os.listdir(folder) if name.endswith('.key'))
    keys = [load_keys(os.path.join(folder, name))[0] for name in names]
    if not keys:
        raise UserError(f'{folder}: found no public key (NAME.key), expected one for each client that is let in.')
    return keys
