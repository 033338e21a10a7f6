"""How the examples cut texts."""

import json
from types import SimpleNamespace

import pytest

from ernie.tokenizers.vocabulary import load_vocab
from example.texts import make_cutter
from propeller.errors import UsageError, UserError

PIECES = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', '好', 'ma', '##ta', 'Ma', '\u2581ma', 'ta', '\u2581好']


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'vocab.txt').write_text('\n'.join(PIECES) + '\n', encoding='utf-8')
    return tmp_path


def cutter(folder, **flags):
    path = folder / 'vocab.txt'
    return make_cutter(SimpleNamespace(vocab_file=str(path), **flags), load_vocab(path))


def test_texts_are_cut_as_in_2019(folder):
    made = cutter(folder)
    assert made('好Mata é'.encode()) == ['好', 'ma', '##ta', '[UNK]'] and made(b'') == []
    assert made.name == 'CharTokenizer'


def test_texts_are_cut_as_the_files_beside_the_vocabulary_say(folder):
    plain = cutter(folder)
    (folder / 'tokenizer_config.json').write_text(
        json.dumps({'tokenizer_class': 'BertTokenizer', 'do_lower_case': False})
    )
    made = cutter(folder)
    assert made('好Mata'.encode()) == ['好', 'Ma', '##ta'] and made.name != plain.name


def test_pieces_of_ernie_tiny(folder):
    made = cutter(folder, use_sentence_piece_vocab=True)
    assert made('Mata好'.encode()) == ['\u2581ma', 'ta', '\u2581好']
    with pytest.raises(UsageError, match='--sentence_piece_model: found no --word_dict'):
        cutter(folder, sentence_piece_model='a.model', word_dict=None)


def test_bytes_that_are_no_text(folder):
    with pytest.raises(UserError, match='byte 0xe5 that is not UTF-8'):
        cutter(folder)('好'.encode() + b'\xe5')
