"""How the examples cut texts."""

import json
import pickle
from types import SimpleNamespace

import pytest

import propeller.paddle as propeller
from ernie.tokenizers.vocabulary import load_vocab
from example.texts import make_cutter
from propeller.errors import UsageError, UserError
from tests.example.common import write

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


def test_the_tokenizer_of_ernie_tiny_makes_record_files(folder):
    """It goes to other processes, and its files decide whether record files are made anew."""
    sentencepiece = pytest.importorskip('sentencepiece')
    model, words = folder / 'tiny.model', folder / 'words.pickle'
    with open(model, 'wb') as f:
        texts = iter(['好 ma ta', 'ma ta 好好', 'tata mama 好', 'ta 好 ma'] * 20)
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=texts, model_writer=f, vocab_size=12, model_type='unigram', minloglevel=2
        )
    words.write_bytes(pickle.dumps({'好ma'}))
    made = cutter(folder, sentence_piece_model=str(model), word_dict=str(words))
    assert made('好Ma'.encode()) and made(b'') == []
    write(folder / 'data/a', ['好ma ta', '', 'MA'])

    def rows(cut):
        vocab = {'[UNK]': 0, **{piece: i for i, piece in enumerate(made('好ma ta'.encode()), 1)}}
        column = propeller.data.TextColumn('text', unk_id=0, vocab_dict=vocab, tokenizer=cut)
        columns = propeller.data.FeatureColumns([column])
        return [ids.tolist() for (ids,) in columns.build_dataset('a', data_dir=folder / 'data', repeat=False)]

    assert [len(ids) for ids in rows(made)] == [len(made('好ma ta'.encode())), 0, len(made(b'MA'))]
    first = (folder / 'data_gz/a').stat().st_ino
    assert rows(cutter(folder, sentence_piece_model=str(model), word_dict=str(words)))
    assert (folder / 'data_gz/a').stat().st_ino == first
    words.write_bytes(pickle.dumps({'ma'}))
    rows(cutter(folder, sentence_piece_model=str(model), word_dict=str(words)))
    assert (folder / 'data_gz/a').stat().st_ino != first


def test_bytes_that_are_no_text(folder):
    with pytest.raises(UserError, match='byte 0xe5 that is not UTF-8'):
        cutter(folder)('好'.encode() + b'\xe5')
