"""Token-and-label files of all forms, labels of pieces, and what is refused with its line."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest

from ernie.decoding.scheme import SCHEMES
from ernie.reader.sequence_label import SequenceLabelReader, load_tag_map
from ernie.reader.token_labels import CUT, IGNORED, label_ids, token_starts
from ernie.tokenization import FullTokenizer
from propeller.errors import UsageError, UserError

TOKENS = [
    '[PAD]',
    '[CLS]',
    '[SEP]',
    '[MASK]',
    '[UNK]',
    *'我爱北京天安门。',
    'win',
    '##dow',
    '##s',
    'new',
    'york',
    '@',
    'b',
]
TYPES = ('PER', 'LOC')


def tag_map(scheme='IOB'):
    """`O` in the middle: no place of it is special."""
    names = [f'{prefix}-{kind}' for kind in TYPES for prefix in SCHEMES[scheme].prefixes]
    names.insert(2, 'O')
    return {name: i for i, name in enumerate(names)}


@pytest.fixture
def tokenizer(tmp_path):
    path = tmp_path / 'vocab.txt'
    path.write_text('\n'.join(TOKENS) + '\n', encoding='utf-8')
    return FullTokenizer(str(path))


@pytest.fixture
def reader(tokenizer):
    def make(scheme='IOB', max_seq_len=20, labelled=True, **options):
        return SequenceLabelReader(
            tokenizer,
            max_seq_len,
            options.pop('label_map', None) or tag_map(scheme),
            scheme,
            labelled,
            cache=False,
            **options,
        )

    return make


@pytest.fixture
def read(tmp_path, reader):
    def read(content, name='data.tsv', **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return reader(**options).read(str(path))

    return read


def row(made, i, label_map):
    """A row as text: `[CLS] 我:O win:B-PER ##dow+I-PER [SEP]`; + marks a piece that goes on with a token."""
    names = {index: name for name, index in label_map.items()}
    entries = made.token_labels[made.offsets[i] : made.offsets[i + 1]]
    ids, starts, (tokens, _) = label_ids(entries, len(names)), token_starts(entries, len(names)), made.row(i)
    parts = [
        TOKENS[t] + ('' if label < 0 else (':' if start else '+') + names[label])
        for t, label, start in zip(tokens, ids.tolist(), starts.tolist(), strict=True)
    ]
    return ' '.join(parts)


JOINED = 'text_a\tlabel\n我\x02爱\x02北\x02京\tO\x02O\x02B-LOC\x02I-LOC\n爱\tO\n'
SPACES = 'label\ttext_a\nO O B-LOC I-LOC\t我 爱 北 京\nO\t爱\n'
CONLL = '-DOCSTART- O\n\n我 O\n爱 O\n北 B-LOC\n京 I-LOC\n\n\n爱 O\n'
WIDE = '我\tx\ty\tO\r\n爱\tx\ty\tO\r\n北\tx\ty\tB-LOC\r\n京\tx\ty\tI-LOC\r\n\r\n爱\tx\ty\tO'
CSV = 'text,label\n"我 爱 北 京",O O B-LOC I-LOC\n爱,O\n'
FORMS = {
    'joined': (JOINED, [2, 3]),
    'spaces': (SPACES, [2, 3]),
    'conll': (CONLL, [3, 9]),
    'wide': (WIDE, [1, 6]),
    'csv': (CSV, [2, 3]),
}


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('mark', [b'', b'\xef\xbb\xbf'])
def test_all_forms_give_the_same(read, form, mark):
    content, lines = FORMS[form]
    made = read(mark + content.encode(), name='data.csv' if form == 'csv' else 'data.tsv')
    assert row(made, 0, tag_map()) == '[CLS] 我:O 爱:O 北:B-LOC 京:I-LOC [SEP]'
    assert row(made, 1, tag_map()) == '[CLS] 爱:O [SEP]'
    assert len(made) == 2 and made.lines.tolist() == lines
    assert made.token_labels.dtype == np.int32 and made.split.tolist() == made.lengths.tolist() == [6, 3]


@pytest.mark.parametrize(
    ('scheme', 'labels', 'expected'),
    [
        ('IOB', 'B-PER O', 'win:B-PER ##dow+I-PER ##s+I-PER new:O york+O'),
        ('IOB', 'I-PER I-PER', 'win:I-PER ##dow+I-PER ##s+I-PER new:I-PER york+I-PER'),
        ('IO', 'I-PER O', 'win:I-PER ##dow+I-PER ##s+I-PER new:O york+O'),
        ('IOE', 'I-PER E-PER', 'win:I-PER ##dow+I-PER ##s+I-PER new:I-PER york+E-PER'),
        ('IOBES', 'S-PER O', 'win:B-PER ##dow+I-PER ##s+E-PER new:O york+O'),
        ('IOBES', 'B-PER E-PER', 'win:B-PER ##dow+I-PER ##s+I-PER new:I-PER york+E-PER'),
    ],
)
def test_labels_of_pieces(read, scheme, labels, expected):
    first, second = labels.split()
    made = read(f'text_a\tlabel\nWindows\x02new york\t{first}\x02{second}\n', scheme=scheme)
    assert row(made, 0, tag_map(scheme)) == f'[CLS] {expected} [SEP]'


def test_a_map_without_the_label_for_further_pieces_repeats_the_tokens_own(read):
    label_map = {'B-PER': 0, 'O': 1}
    made = read('text_a\tlabel\nWindows b\tB-PER O\n', label_map=label_map)
    assert row(made, 0, label_map) == '[CLS] win:B-PER ##dow+B-PER ##s+B-PER b:O [SEP]'


def test_tokens_without_a_piece_are_unknown_ones(read):
    content = 'text_a\tlabel\n我\x02 \x02\x02\u200b\x02爱\tO\x02O\x02O\x02B-PER\x02I-PER\n'
    assert row(read(content), 0, tag_map()) == '[CLS] 我:O [UNK]:O [UNK]:O [UNK]:B-PER 爱:I-PER [SEP]'


def test_empty_rows(read):
    made = read('text_a\tlabel\n\t\n我\tO\n')
    assert row(made, 0, tag_map()) == '[CLS] [SEP]' and len(made) == 2


def test_rows_are_cut_and_it_is_said(read, caplog):
    caplog.set_level(logging.WARNING)
    content = 'text_a\tlabel\n我 爱 Windows 北\tO O B-PER O\n我 爱 北\tO O O\n我 Windows b\tO B-PER O\n'
    made = read(content, max_seq_len=6)
    assert row(made, 0, tag_map()) == '[CLS] 我:O 爱:O win:B-PER ##dow+I-PER [SEP]'
    assert row(made, 1, tag_map()) == '[CLS] 我:O 爱:O 北:O [SEP]'
    assert row(made, 2, tag_map()) == '[CLS] 我:O win:B-PER ##dow+I-PER ##s+I-PER [SEP]'
    assert [made.token_labels[end - 1] for end in made.offsets[1:]] == [CUT, IGNORED, CUT]
    assert '2 rows do not fit into 6 tokens' in caplog.text
    names = sorted(tag_map(), key=tag_map().get)
    assert [[names[i] for i in made.labels_cut_off(row)] for row in range(3)] == [['O'], [], ['O']]


def test_one_token_rows_follow_the_separator_seen(read):
    made = read('text_a\tlabel\n我\x02爱\tO\x02O\nnew york\tO\n')
    assert row(made, 1, tag_map()) == '[CLS] new:O york+O [SEP]'


@pytest.mark.parametrize('content', [JOINED, SPACES, CONLL, WIDE])
def test_prediction_needs_no_known_label(read, content):
    made = read(content.replace('B-LOC', 'whatever'), labelled=False)
    assert made.lengths.tolist() == [6, 3]
    assert token_starts(made.token_labels, 5).sum() == 5


def test_raw_text_is_cut_into_words(read, reader, tmp_path):
    read('text_a\n我爱New York。\n', labelled=False)
    made_reader = reader(labelled=False)
    (sentence,) = made_reader.rows(str(tmp_path / 'data.tsv'), None)
    assert sentence.tokens == ['我', '爱', 'New', 'York', '。'] and sentence.labels is None


HEADER = 'text_a\tlabel\n'
BAD = [
    (f'{HEADER}我 爱\tO O\n我 爱\tO O O\n', 3, '2 tokens and 3 labels', {}),
    (f'{HEADER}我\x02爱\tO\n', 2, '2 tokens and 1 labels', {}),
    (
        f'{HEADER}我 爱\tO B-ORG\n',
        2,
        "'B-ORG' of token 2 ('爱'), expected one of the labels that the model has: B-PER",
        {},
    ),
    ('我 O\n爱 O\n\n北 B-LOC\n京 X\n', 5, "the label 'X' of token 2", {}),
    ('我 O\n爱 O x\n', 2, 'found 3 columns, expected 2', {}),
    ('我 O\n爱\n', 2, 'found 1 columns, expected 2', {}),
    ('我爱北京\n我爱北京\n', 1, 'expected a header line with the columns text_a and label, or CoNLL', {}),
    ('我\x02爱\tO\x02O\n', 1, 'expected a header line', {}),
    ('tex\tlabel\n我 爱\tO O\n', 1, 'no label of the label map on the first lines', {}),
    ('what\twhich\n我 爱\tO O\n', 1, 'no label of the label map on the first lines', {}),
    ('text_a\tlabelled\n我\tO\n', 1, "also a column 'label'", {}),
    (f'{HEADER}我\n', 2, 'found 1 cells, expected 2', {}),
    (HEADER, None, 'a header line and no row', {}),
    ('', None, 'an empty file', {}),
    (b'\xe6\x88\x91 O\n\xff O\n', 2, 'byte 0xff', {}),
    (f'{HEADER}我 爱\tO I-PER\n', 2, "'I-PER' of token 2 ('爱') outside of a whole chunk", {'scheme': 'IOBES'}),
    ('我 O\n\n我 B-PER\n爱 O\n', 3, "'B-PER' of token 1", {'scheme': 'IOBES'}),
    ('我 B-PER\n爱 E-LOC\n', 1, 'B- .. E- with I- between', {'scheme': 'IOBES'}),
    ('我 I-PER\n爱 O\n', 1, "'I-PER' of token 1", {'scheme': 'IOE'}),
]


@pytest.mark.parametrize(('content', 'line', 'text', 'options'), BAD)
def test_what_is_wrong_is_named_with_its_line(read, content, line, text, options):
    with pytest.raises(UserError) as e:
        read(content, **options)
    assert text in str(e.value) and (f'data.tsv:{line}: ' if line else 'data.tsv') in str(e.value), str(e.value)


def test_bad_rows_can_be_skipped(read):
    made = read(f'{HEADER}我 爱\tO\n北\tO\n京\tX\n', skip_bad_rows=True)
    assert len(made) == 1 and made.lines.tolist() == [3]
    assert [line for line, _ in made.bad_rows.rows] == [2, 4]
    made = read('我 O\n爱\n京 O\n\n北 O\n\n京 X\n', skip_bad_rows=True)
    assert made.lines.tolist() == [5] and [line for line, _ in made.bad_rows.rows] == [2, 7]
    with pytest.raises(UserError, match='that cannot be used'):
        read(f'{HEADER}我 爱\tO\n', skip_bad_rows=True)


def test_chunks_of_iob1_are_read_and_named(read, caplog):
    caplog.set_level(logging.WARNING)
    read(f'{HEADER}我 爱\tO I-PER\n北 京\tB-LOC I-LOC\n我 北 京\tI-PER I-PER I-LOC\n')
    assert '3 chunks begin with I- instead of B- (sentences at lines 2, 4)' in caplog.text
    caplog.clear()
    read(f'{HEADER}Windows b\tB-PER I-PER\n我\tO\n')
    assert not caplog.text


@pytest.mark.parametrize(
    ('content', 'scheme', 'text'),
    [
        ({'B-PER': 0, 'E-PER': 1, 'O': 2}, 'IOB', "the label 'E-PER'"),
        ({'B-PER': 0, 'I-PER': 1, 'O': 2}, 'IO', "the label 'B-PER'"),
        ({'PER': 0, 'O': 1}, 'IOBES', "the label 'PER'"),
        ({'B-PER': 0, 'I-PER': 0, 'O': 1}, 'IOB', 'an id that two labels share'),
        ({'B-PER': 0, 'I-PER': 2, 'O': 3}, 'IOB', 'without a gap'),
        ({'B-PER': 'x'}, 'IOB', 'a whole number'),
        ([1], 'IOB', 'a JSON object'),
    ],
)
def test_label_maps_are_checked(tmp_path, content, scheme, text):
    path = tmp_path / 'map.json'
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=text) as e:
        load_tag_map(str(path), scheme)
    assert str(path) in str(e.value)


@pytest.mark.parametrize('scheme', SCHEMES)
def test_label_maps_of_each_scheme_in_any_order(tmp_path, scheme):
    path, label_map = tmp_path / 'map.json', tag_map(scheme)
    path.write_text(json.dumps(label_map))
    assert load_tag_map(str(path), scheme) == label_map


def test_options_that_cannot_be(reader):
    with pytest.raises(UsageError, match='BMES'):
        reader(label_map=tag_map(), scheme='BMES')
    with pytest.raises(UsageError, match='max_seq_len 2'):
        reader(max_seq_len=2)
    with pytest.raises(UsageError, match="the label 'E-PER'"):
        reader(label_map=tag_map('IOBES'))


def test_a_cached_set_is_the_same(tokenizer, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    path = tmp_path / 'data.txt'
    path.write_text(CONLL, encoding='utf-8')
    for length in (20, 5):  # all of it fits, or not
        caplog.clear()
        make = lambda: SequenceLabelReader(tokenizer, length, tag_map())  # noqa: E731, B023
        first, second = make().read(str(path)), make().read(str(path))
        for name in ('ids', 'token_labels', 'offsets', 'lines', 'cut', 'cut_labels'):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert first.about == second.about and first.about['token_cut']['rule'] == 'characters'
        assert sum(line.endswith('from the cache') for line in caplog.messages) == 1
    assert second.cut.sum() > 0 and 'damaged' not in caplog.text
    assert len(list((tmp_path / 'cache').rglob('set.json'))) == 2


def test_several_processes_give_the_same(tokenizer, tmp_path):
    path = tmp_path / 'big.txt'
    path.write_text(''.join(f'我 O\nWindows B-PER\n{"爱 I-PER" if i % 3 else "b O"}\n\n' for i in range(12000)))
    one, many = (SequenceLabelReader(tokenizer, 20, tag_map(), cache=False, processes=n).read(path) for n in (1, 2))
    assert len(one) == 12000
    for name in ('ids', 'token_labels', 'offsets', 'lines'):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


@pytest.mark.skipif('ERNIE_TEST_DATA' not in os.environ, reason='ERNIE_TEST_DATA is not set')
@pytest.mark.parametrize('name', ['msra_ner', 'wnut17_en', 'weibo_ner'])
def test_the_real_sets_are_read_and_written_back(tmp_path, name):
    folder = Path(os.environ['ERNIE_TEST_DATA']) / name
    rows = [line.split('\t') for line in (folder / 'dev.tsv').read_text(encoding='utf-8').split('\n')[1:-1]]
    characters = sorted({c for text, _ in rows for c in text.lower() if c not in '\x02 '})
    vocabulary = tmp_path / 'vocab.txt'
    lines = [*TOKENS[:5], *characters, *(f'##{c}' for c in characters)]
    vocabulary.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    label_map = load_tag_map(str(folder / 'label_map.json'), 'IOB')
    tokenizer = FullTokenizer(str(vocabulary))
    made = SequenceLabelReader(tokenizer, 2000, label_map, cache=False).read(str(folder / 'dev.tsv'))
    names = sorted(label_map, key=label_map.get)
    starts = token_starts(made.token_labels, len(names))
    for i, (_, labels) in enumerate(rows):
        place = slice(made.offsets[i], made.offsets[i + 1])
        assert [names[j] for j in made.token_labels[place][starts[place]]] == labels.split('\x02')


def test_a_label_that_looks_like_another_is_shown_by_code_point(reader, tmp_path):
    path = tmp_path / 'data.txt'
    path.write_text('我 O\n天 B-ＬＯＣ\n', encoding='utf-8')
    with pytest.raises(UserError, match=r"data\.txt:2: found the label 'B-ＬＯＣ' .* U\+FF2C U\+FF2F U\+FF23"):
        reader().read(path)
    path.write_text('text_a\tlabel\n我 \u3000 爱\tO O B-PER\n', encoding='utf-8')
    assert list(reader().rows(path, None))[0].tokens == ['我', '\u3000', '爱']


def test_pieces_of_the_last_token_are_no_tokens_beyond(reader, tmp_path):
    path = tmp_path / 'data.txt'
    path.write_text('我 O\nwindows B-PER\n', encoding='utf-8')
    whole = reader().read(path)
    assert whole.lengths.tolist() == [6] and whole.cut.tolist() == [0] and len(whole.cut_labels) == 0
    cut = reader(max_seq_len=3).read(path)
    assert cut.cut.tolist() == [1] and cut.cut_labels.tolist() == [tag_map()['B-PER']]
