"""The tokenizer of ERNIE tiny made by hand, so that it can be broken at will: sentencepiece models, their rules of
normalisation, and the folder `subword/`.
"""

import json
import struct
from pathlib import Path

from ernie.tokenizers.subword_files import OFFICIAL_MODEL, PLAIN_WORDS
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS, load_vocab
from propeller.data.wire import FIXED32, VARINT, put_bytes

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
_VALUE, _HAS_VALUE = 1 << 31, 1 << 8
_UNITS, _STEPS, _VALUES = 768, 256, 512  # of a tree with one rule: all units, where the first step leads, its value


def model_of(pieces, rules=b'', kind=NORMAL, unknown=True):
    """A unigram model (bytes) of pieces (str or bytes). rules: see `rules_of`. kind: of the pieces."""
    model = bytearray()
    for number, piece in enumerate((['<unk>'] if unknown else []) + [*pieces]):
        made = bytearray()
        put_bytes(made, 1, piece if isinstance(piece, bytes) else piece.encode())
        made += bytes([2 << 3 | FIXED32]) + struct.pack('<f', -1.0 - number / 100)
        made += bytes([3 << 3 | VARINT, UNKNOWN if unknown and not number else kind])
        put_bytes(model, 1, made)
    put_bytes(model, 2, bytes([3 << 3 | VARINT, 1]))
    normalizer = bytearray()
    put_bytes(normalizer, 2, rules)
    put_bytes(model, 3, normalizer)
    return bytes(model)


def rules_of(letter='a', becomes=b'b\0', base=_VALUES, value=0, units=_UNITS, root=_STEPS):
    """The rules (bytes) that make one ASCII letter another text, or broken ones.

    They are a tree in an array, as darts-clone writes it, and the texts that its values are places of. base: from where
    the letter leads on; value: place of its text; units: of the array; root: from where the first letters lead on.
    """
    at = _STEPS ^ ord(letter)
    array = [_VALUE] * max(units, _UNITS)  # to which no letter leads
    array[0] = root << 10
    array[at] = (at ^ base) << 10 | _HAS_VALUE | ord(letter)
    if base < len(array):
        array[base] |= value
    content = struct.pack(f'<{units}I', *array[:units])
    return struct.pack('<I', len(content)) + content + becomes


def write_subword(folder, model=None, rules=b'', words=('今天', '好美', '中国人')):
    """Gives the folder of a vocabulary, or of an exported model, the tokenizer of ERNIE tiny. model: bytes instead."""
    folder = Path(folder)
    pieces = [token for token in load_vocab(folder / 'vocab.txt') if token not in {*SPECIAL_TOKENS, '\u2581'}]
    pieces.append('\u2581')  # sentencepiece joins what it does not know in a row, which takes long where all is so
    (folder / 'subword').mkdir()
    (folder / OFFICIAL_MODEL).write_bytes(model_of(pieces, rules) if model is None else model)
    (folder / PLAIN_WORDS).write_text(''.join(f'{word}\n' for word in words), encoding='utf-8', newline='\n')
    for name, key in (('tokenizer_config.json', 'tokenizer_class'), ('labels.json', 'tokenizer')):
        said = json.loads((folder / name).read_text(encoding='utf-8')) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(said | {key: 'SubwordTokenizer'}, ensure_ascii=False), encoding='utf-8')
