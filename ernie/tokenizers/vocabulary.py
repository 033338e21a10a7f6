"""Vocabulary files: read in all forms that models come with, written line by line for others."""

from codecs import BOM_UTF8

from propeller.errors import bad_input, quoted
from propeller.inputs import read_bytes, read_json_object
from propeller.log import get_logger

log = get_logger(__name__)

SPECIAL_TOKENS = ('[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]')
MAX_BYTES = 1 << 28
# Ids without a token beyond those of the vocabulary: a file of one token a line gets a line for each.
MOST_GAPS = 500_000
FILLER = b'[unused_gap_'
_ASCII_WHITESPACE = ' \t\r\n\v\f'
_warned = set()


def load_vocab(path, required=SPECIAL_TOKENS):
    """Reads a vocabulary file, UTF-8, in one of three forms.

    `token<TAB>id` on each line: the ids may be in any order and leave gaps.
    One token a line: the id is the line number, from 0. A blank line is no token but keeps its number, and so does the
    line of a `filler`. The first line that is not blank tells which of the two forms it is.
    A `tokenizer.json` of Hugging Face's tokenizers, told by its ending: the vocabulary of its word pieces.

    A token that comes twice has its later id, as for the 2019 loader and Hugging Face's; a warning names both lines.

    Args:
        path: the file.
        required: tokens that must be there.

    Returns:
        dict token -> id, in the order of the file.

    Raises:
        UserError: the file cannot be read or is empty; a line is not UTF-8, has more than one TAB, no token, no id or
            an id that is not a whole number; an id comes twice; a required token is missing.
    """
    vocab = _of_json(path) if str(path).endswith('.json') else _of_lines(path)
    if vocab and max(vocab.values()) > MOST_GAPS + 2 * len(vocab):
        found = f'id {max(vocab.values())} among {len(vocab)} tokens'
        raise bad_input(path, found, f'ids up to {MOST_GAPS + 2 * len(vocab)}')
    missing = [token for token in required if token not in vocab]
    if missing:
        raise bad_input(path, f'no token {", ".join(missing)}', 'a vocabulary with the special tokens')
    return vocab


def _of_lines(path):
    vocab, owners, lines, has_ids = {}, {}, {}, None
    for number, line in enumerate(_lines(path), start=1):
        token, *ids = [field.strip(_ASCII_WHITESPACE) for field in _decode(line, path, number).split('\t')]
        if not token and not any(ids):
            continue
        if has_ids is None:
            has_ids = bool(ids)
        index = _parse_id(ids, has_ids, path, number) if ids or has_ids else number - 1
        if not token:
            raise bad_input(path, 'an id without a token', 'token<TAB>id', line=number)
        if token == filler(index):
            continue
        if owners.setdefault(index, token) != token:
            raise bad_input(path, f'id {index}, which token {quoted(owners[index])} has', 'each id once', line=number)
        if token in vocab:
            _warn_of_two(path, token, lines[token], number, index)
        vocab[token], lines[token] = index, number
    return vocab


def _warn_of_two(path, token, first, second, index):
    if (str(path), second) not in _warned:
        _warned.add((str(path), second))
        log.warning('%s: token %s on line %d and again on line %d: id %d of line %d holds',
                    path, quoted(token), first, second, index, second)  # fmt: skip


def _lines(path):
    content = read_bytes(path, MAX_BYTES, 'a vocabulary file that can be read')
    if not content.strip():
        raise bad_input(path, 'an empty file', 'a vocabulary: token<TAB>id, or one token a line')
    return content.removeprefix(BOM_UTF8).removesuffix(b'\n').split(b'\n')


def _decode(line, path, number):
    try:
        return line.decode('utf-8')
    except UnicodeDecodeError as e:
        raise bad_input(path, f'byte 0x{line[e.start]:02x} that is not UTF-8', 'UTF-8 text', line=number) from e


def _parse_id(ids, has_ids, path, number):
    """The id, from the fields of a line after its token."""
    if len(ids) > 1:
        raise bad_input(path, f'{len(ids) + 1} fields', 'token<TAB>id, or one token a line', line=number)
    if bool(ids) != has_ids:
        forms = ('one token a line', 'token<TAB>id')
        raise bad_input(path, forms[not has_ids], f'{forms[has_ids]} as on the lines before', line=number)
    if not (ids[0].isascii() and ids[0].isdigit() and len(ids[0]) <= 18):
        raise bad_input(path, f'id {quoted(ids[0])}', 'a whole number from 0', line=number)
    return int(ids[0])


def _of_json(path):
    content = read_json_object(path, 'a tokenizer.json')
    model = content.get('model')
    vocab = dict(model['vocab']) if isinstance(model, dict) and isinstance(model.get('vocab'), dict) else None
    if not vocab:
        raise bad_input(path, 'no model.vocab of token -> id', 'the word pieces of a tokenizer.json')
    added_tokens = content.get('added_tokens')
    for added in added_tokens if isinstance(added_tokens, list) else []:
        if isinstance(added, dict) and added.get('content') in SPECIAL_TOKENS:
            vocab.setdefault(added['content'], added.get('id'))
    owners = {}
    for token, index in vocab.items():
        if type(index) is not int or index < 0:
            raise bad_input(path, f'{quoted(token)} with id {quoted(index)}', 'a whole number from 0')
        if owners.setdefault(index, token) != token:
            raise bad_input(path, f'id {index} of both {quoted(owners[index])} and {quoted(token)}', 'each id once')
    return {token: index for token, index in vocab.items() if token != filler(index)}


def filler(index):
    """What stands on the line of an id without a token. The tokenizers cut at brackets, so no text ever becomes it."""
    return f'{FILLER.decode()}{index}]'


def as_lines(vocab):
    """The vocabulary as a file of one token a line, bytes: line number = id, a `filler` on the line of a gap.

    What cannot stand on a line of its own (a token with a carriage return inside) becomes a filler, too.
    """
    tokens = {index: token for token, index in vocab.items() if '\r' not in token}
    return ''.join(f'{tokens.get(i) or filler(i)}\n' for i in range(max(vocab.values()) + 1)).encode()


def as_pairs(vocab):
    """The vocabulary as a file of `token<TAB>id`, bytes, in the order of ids: the form that knows gaps."""
    return ''.join(f'{token}\t{index}\n' for token, index in sorted(vocab.items(), key=lambda item: item[1])).encode()


def vocabulary_bytes(path):
    """The vocabulary at `path` as the content of a `vocab.txt`: the file's own bytes if it has one of its two forms.

    Raises:
        UserError: it cannot be read.
    """
    if str(path).endswith('.json'):
        return as_lines(load_vocab(path))
    return read_bytes(path, MAX_BYTES, 'a vocabulary file that can be read')
