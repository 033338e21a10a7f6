"""Clients of `ernie serve` and `encoder_server.py` over ZeroMQ.

    client = ErnieClient('./config/vocab.txt', host='localhost', port=8888)    # tokenizes here, as in 2019
    client(['谁有狂三这张高清的', '英雄联盟什么英雄最好'])                       # float32 [2, H]

    client = TextClient(host='localhost', port=8888)                           # the server tokenizes
    client(['快递晚了三天'])

A program too: `python ernie/service/client.py -i texts.txt -o vectors.npy --vocab vocab.txt`. Neither needs Paddle.
"""

import os
import sys

if not __package__ and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):
    # Started as a file: its folder is no place for imports, that of the packages is.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import time

import numpy as np

from ernie.checkpoint.huggingface_labels import LONGEST
from ernie.checkpoint.model_folder import ERNIE_CONFIG, foreign_config
from ernie.checkpoint.tensorflow import BERT_CONFIG
from ernie.checkpoint.tokenizer_settings import LABELS, folder_tokenizer, read_tokenizer_config
from ernie.inference.predict import tokenized_rows
from ernie.reader.classify import RowEncoder
from ernie.run.exported import INFERENCE, VECTORS
from ernie.service.text_client import AsyncTextClient, TextClient
from propeller.args import Parser
from propeller.errors import UsageError, UserError, bad_input, one_line_errors, quoted
from propeller.inputs import open_data, read_json_object
from propeller.log import get_logger
from propeller.service.client import AsyncInferenceClient, InferenceClient
from propeller.service.security import read_token
from propeller.storage.atomic import check_output, output_file

__all__ = ['AsyncErnieClient', 'AsyncTextClient', 'ErnieClient', 'TextClient', 'TextEncoder']

log = get_logger('ernie.service.client')

_WITHOUT_FILES = 128  # tokens, as in 2019


class TextEncoder:
    """Texts to the arrays that an encoder's server takes.

    Args:
        vocab_file: vocabulary. How it is used (letter case ...) is as the files beside it say, those of a model folder;
            where there are none, as `FullTokenizer` of ERNIE 1.0 does.
        max_seqlen: longest input in tokens, [CLS] and [SEP] included. None: as the files beside the vocabulary say:
            as the model was trained or exported, else what it reads, at most 512 as `ernie encode`; 128 without files.
            What is longer is cut, of which the log warns once.
    """

    def __init__(self, vocab_file, max_seqlen=None):
        if max_seqlen is not None and (not isinstance(max_seqlen, int) or max_seqlen < 3):
            raise UsageError(f'max_seqlen: found {quoted(max_seqlen)}, expected a whole number from 3.')
        vocab_file, self._warned = os.fspath(vocab_file), False
        folder = os.path.dirname(vocab_file) or '.'
        self.tokenizer = folder_tokenizer(folder).make(vocab_file)
        max_seqlen = _longest(folder) if max_seqlen is None else max_seqlen
        self._encoder = RowEncoder(self.tokenizer, max_seqlen, None, 'predict', None, for_cn=False)

    def __call__(self, text_a, text_b=None):
        """Token ids and sentence types, int64 [N, T, 1] each, 0 behind the tokens; N texts, T tokens of the longest.

        Args:
            text_a, text_b: lists of str or UTF-8 bytes of one length; None: single texts.
        Raises:
            ValueError: they are no such lists; says which text.
        """
        firsts = _texts(text_a, 'text_a')
        seconds = [None] * len(firsts) if text_b is None else _texts(text_b, 'text_b')
        if len(firsts) != len(seconds):
            raise UserError(f'text_b: found {len(seconds)} texts for {len(firsts)} first ones, expected as many.')
        if not firsts:
            raise UserError('text_a: found no text, expected one at least.')
        encoded = [self._encoder.encode(a, b) for a, b in zip(firsts, seconds, strict=True)]
        self._warn(sum(left_out > 0 for _, _, left_out in encoded), len(encoded))
        rows = tokenized_rows([ids for ids, _, _ in encoded], [split for _, split, _ in encoded])
        ids, types, _, _ = rows.padded(np.arange(len(rows)))
        return ids[:, :, None], types[:, :, None]

    def _warn(self, cut, count):
        if cut and not self._warned:
            self._warned = True
            message = '%d of %d texts do not fit into %d tokens and were cut (max_seqlen); this is logged once'
            log.warning(message, cut, count, self._encoder.max_seq_len)


def _longest(folder):
    """Tokens of the longest input, as the files of a model folder say."""

    def said(name, *keys):
        path = os.path.join(folder, name)
        value = read_json_object(path) if os.path.isfile(path) else {}
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def is_length(value):
        return type(value) is int and 3 <= value < 1 << 31  # not the 1e30 of transformers

    trained = said(LABELS, 'max_seq_len'), said(INFERENCE, VECTORS, 'reading', 'max_seq_len')
    positions = (
        read_tokenizer_config(folder).get('model_max_length'),
        *(said(name, 'max_position_embeddings') for name in (ERNIE_CONFIG, BERT_CONFIG)),
        foreign_config(folder)[1].get('max_position_embeddings'),
    )
    known = list(filter(is_length, positions))
    return next(filter(is_length, trained), min([LONGEST, *known]) if known else _WITHOUT_FILES)


def _texts(values, name):
    if isinstance(values, str | bytes) or not isinstance(values, list | tuple | np.ndarray):
        raise UserError(f'{name}: found {quoted(values, 60)} ({type(values).__name__}), expected a list of texts.')
    texts = []
    for place, value in enumerate(values, start=1):
        try:
            value = value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError as e:
            raise UserError(f'{name}: text {place} is not UTF-8 (byte {e.start + 1}).') from None
        if not isinstance(value, str):
            raise UserError(f'{name}: text {place} is {quoted(value, 60)} ({type(value).__name__}), expected a text.')
        texts.append(str(value))
    return texts


class _Tokenizes:
    """What both clients are made with."""

    def __init__(
        self,
        vocab_file,
        host='localhost',
        port=8888,
        batch_size=32,
        num_coroutine=1,
        timeout=10.0,
        max_seqlen=None,
        model=None,
        **security,
    ):
        super().__init__(f'tcp://{host}:{port}', batch_size, num_coroutine, timeout, model=model, **security)
        self.encoder = TextEncoder(vocab_file, max_seqlen)


class ErnieClient(_Tokenizes, InferenceClient):
    """Vectors of texts from `encoder_server.py` or `ernie serve --port`; texts become tokens here.

    Args:
        vocab_file, max_seqlen: see `TextEncoder`. The vocabulary must be that of the server's model.
        host, port: of the server.
        batch_size: texts of a request.
        num_coroutine: requests under way at once.
        timeout: seconds after which a request without an answer fails, and the call with it.
        model: name of the model where the server has several; None: the only one.
        security: `auth_token`, `server_key`, `client_key`, see `InferenceClient`.
    """

    def __call__(self, text_a, text_b=None, *, model=None):
        """The first output of the model: of a pooling server float32 [N, H], of one for layers [N, T, H].

        Args:
            text_a, text_b: see `TextEncoder.__call__`.
            model: name of the model for this call; None: that of the client. The vocabulary must be its too.
        Raises:
            ValueError: the texts cannot be used.
            InferenceError: a request failed.
        """
        return super().__call__(*self.encoder(text_a, text_b), model=model)[0]


class AsyncErnieClient(_Tokenizes, AsyncInferenceClient):
    """`ErnieClient` for asyncio: `await client(texts)`. The arguments are the same."""

    async def __call__(self, text_a, text_b=None, *, model=None):
        """See `ErnieClient.__call__`."""
        return (await super().__call__(*self.encoder(text_a, text_b), model=model))[0]


# ---------------------------------------------------------------- the program


def build_parser(prog=None):
    """The flags."""
    parser = Parser(prog=prog, description='Vectors of the lines of a file, from a server, as a NumPy file.')
    parser.add_argument('--host', default='localhost', help='Of the server. Default: localhost.')
    parser.add_argument('-p', '--port', type=int, default=8888, help='Of the server. Default: 8888.')
    parser.add_argument('-i', '--input', required=True, help='Text file: a line is a text, or two parted by TAB.')
    parser.add_argument('-o', '--output', required=True, help='NumPy file of the vectors, float32 [N, H].')
    parser.add_argument('--vocab', required=True, help="Vocabulary of the server's model.")
    parser.add_argument('--model', help='Name of the model where the server has several. Default: the only one.')
    parser.add_argument('--batch_size', type=int, default=32, help='Texts of a request. Default: 32.')
    parser.add_argument('--num_coroutine', type=int, default=1, help='Requests under way at once. Default: 1.')
    parser.add_argument(
        '--max_seqlen',
        type=int,
        help='Longest input in tokens. Default: as the files beside the vocabulary say, 128 without.',
    )
    parser.add_argument('--timeout', type=float, default=10.0, help='Seconds for a request. Default: 10.')
    parser.add_argument(
        '--auth_token_file', help='File that holds the token of the server. Default: $PROPELLER_AUTH_TOKEN.'
    )
    return parser


def main(argv=None, prog=None):
    """Send a file to a server and write the vectors.

    Raises:
        UserError: anything the user can mend.
    """
    args = build_parser(prog).parse_args(argv)
    target = args.output if args.output.endswith('.npy') else f'{args.output}.npy'  # as NumPy names it
    check_output(target, '--output', [args.input, args.vocab])
    client = ErnieClient(
        args.vocab,
        args.host,
        args.port,
        args.batch_size,
        args.num_coroutine,
        args.timeout,
        args.max_seqlen,
        args.model,
        auth_token=read_token(file=args.auth_token_file),
    )
    count, seconds, vectors = 0, 0.0, []
    with client:
        for columns in _blocks(args.input, args.batch_size * args.num_coroutine):
            began = time.monotonic()
            found = client(*columns)
            seconds += time.monotonic() - began
            count += len(columns[0])
            vectors.append(found[:, 0] if found.ndim == 3 else found)
    with output_file(target, binary=True) as f:
        np.save(f, np.concatenate(vectors))
    print(f'query num: {count} average latency {seconds / count:.5f}')


def _blocks(path, size):
    """Lists of columns, `size` lines each: [texts], or [first texts, second texts].

    Raises:
        UserError: the file is empty, not UTF-8, or a line has another number of texts than the first.
    """
    rows, width, number = [], None, 0
    expected = 'a text in each line, or two parted by TAB'
    with open_data(path, 'a text file') as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode('utf-8-sig' if number == 1 else 'utf-8').rstrip('\r\n')
            except UnicodeDecodeError as e:
                raise bad_input(path, f'a byte that is not UTF-8 (byte {e.start + 1})', 'UTF-8', number) from None
            cells = text.split('\t')
            width = width or len(cells)
            if len(cells) != width or width > 2:
                raise bad_input(
                    path, f'{len(cells)} texts', expected if width > 2 else f'{width}, as in line 1', number
                )
            rows.append(cells)
            if len(rows) == size:
                yield [list(column) for column in zip(*rows, strict=True)]
                rows = []
    if not number:
        raise bad_input(path, 'an empty file', expected)
    if rows:
        yield [list(column) for column in zip(*rows, strict=True)]


if __name__ == '__main__':
    with one_line_errors():
        main()
