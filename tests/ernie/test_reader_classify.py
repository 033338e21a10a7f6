import itertools
import json
import os
import pathlib
import threading
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ernie.reader.classify import ClassifyReader, RowEncoder, load_label_map, remove_spaces, truncate_pair
from ernie.tokenization import SPECIAL_TOKENS, BasicTokenizer, FullTokenizer
from propeller.errors import UsageError, UserError

TOKENS = ['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]', *'今天很热好坏书，。', 'win', '##dows', 'xp', *'abcxyz']


@pytest.fixture
def tokenizer(tmp_path):
    path = tmp_path / 'vocab.txt'
    path.write_text('\n'.join(TOKENS) + '\n', encoding='utf-8')
    return FullTokenizer(str(path))


@pytest.fixture
def read(tmp_path, tokenizer):
    def read(content, name='data.tsv', **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ClassifyReader(tokenizer, **{'cache': False, **options}).read(path)

    return read


def tokens(tokenized, i):
    ids, types = tokenized.row(i)
    return ' '.join(TOKENS[t] for t in ids), types.tolist()


def test_single_and_pair_rows(read):
    made = read('text_b\tlabel\ttext_a\n坏书\t1\t今天很热\n\t0\t好\n，\t0\t\n')
    assert len(made) == 3 and made.lengths.tolist() == [9, 3, 4]
    assert tokens(made, 0) == ('[CLS] 今 天 很 热 [SEP] 坏 书 [SEP]', [0] * 6 + [1] * 3)
    assert tokens(made, 1) == ('[CLS] 好 [SEP]', [0] * 3)  # b without a token: a single text
    assert tokens(made, 2) == ('[CLS] [SEP] ， [SEP]', [0, 0, 1, 1])
    assert made.labels.tolist() == [1, 0, 0] and made.labels.dtype == np.int64
    assert made.lines.tolist() == [2, 3, 4] and made.qids is None and made.bad_rows is None
    assert made.ids.dtype == np.int32 and made.offsets.dtype == np.int64 and made.split.dtype == np.int32


def test_a_text_without_tokens_is_legal(read):
    made = read('text_a\tlabel\n\t1\n \u3000\u200b\t0\n')
    assert [tokens(made, i)[0] for i in range(2)] == ['[CLS] [SEP]'] * 2


def test_rows_are_cut_to_max_seq_len(read):
    made = read(
        'text_a\ttext_b\tlabel\n今天很热好\t坏书书坏，。\t1\n今\t坏书坏书坏书\t0\n今天很热好\t\t0\n', max_seq_len=8
    )
    assert tokens(made, 0) == ('[CLS] 今 天 很 [SEP] 坏 书 [SEP]', [0] * 5 + [1] * 3)
    assert tokens(made, 1) == ('[CLS] 今 [SEP] 坏 书 坏 书 [SEP]', [0] * 3 + [1] * 5)
    assert made.lengths.max() == 8
    assert tokens(read('text_a\tlabel\n今天很热\t1\n', max_seq_len=4), 0)[0] == '[CLS] 今 天 [SEP]'


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40))
def test_pair_truncation_drops_from_the_longer_one(length_a, length_b, room):
    a, b = length_a, length_b
    while a + b > room:
        a, b = (a - 1, b) if a > b else (a, b - 1)
    assert truncate_pair(length_a, length_b, room) == (a, b)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (' 今天 很 热 。 ', '今天很热。'),
        ('用 Windows XP 很快', '用Windows XP很快'),
        ('15.4 寸 , 3 G   显存 a', '15.4寸,3 G显存a'),
        ('a  b', 'a  b'),
        ('café au lait', 'café au lait'),
        ('a \u3000 b', 'a\u3000b'),
        ('3 * 4', '3*4'),
        ('good 😀 movie', 'good 😀 movie'),
        ('5 € today', '5 € today'),
        ('Привет мир , 안녕 하세요 。', 'Привет мир,안녕 하세요。'),
        ('a \u200b b', 'a \u200b b'),
        ('ΟΔΟΣ .Α 中 b', 'ΟΔΟΣ .Α中b'),
        ('', ''),
        ('   ', ''),
    ],
)
def test_spaces_between_latin_words_stay(text, expected):
    assert remove_spaces(text) == expected


@given(st.text(st.sampled_from('今， x\u3000é7'), max_size=14))
def test_a_run_of_spaces_stays_only_between_two_latin_characters(text):
    kept = []
    for spaces, run in itertools.groupby(enumerate(text), lambda item: item[1] == ' '):
        run = list(run)
        before, after = text[: run[0][0]][-1:], text[run[-1][0] + 1 :][:1]
        if not spaces or (before and before in 'xé7' and after and after in 'xé7'):
            kept += [char for _, char in run]
    assert remove_spaces(text) == ''.join(kept)
    if not any(left in 'xé7' and right in 'xé7' for left, right in itertools.pairwise(text.replace(' ', ''))):
        assert remove_spaces(text) == text.replace(' ', '')  # the 2019 rule


_CHARACTERS = st.sampled_from(" .'Σσaß,中€한\u3000\t\u200b\u0301\u0327\u302e・\ufa6e") | st.characters()


@settings(max_examples=400, deadline=None)
@example("aΣ 'b", True)
@example('x \ufa6ey', False)
@given(st.text(_CHARACTERS, max_size=20), st.booleans())
def test_no_word_changes_by_the_spaces_that_are_dropped(text, lower):
    basic = BasicTokenizer(lower)
    assert basic.tokenize(remove_spaces(text)) == basic.tokenize(text)


def test_spaces_are_dropped_in_linear_time():
    started = time.process_time()
    for text in (f'a{" " * 100_000}b', f'x{" " * 500}' * 1000):
        assert remove_spaces(text) == text.rstrip()
    assert time.process_time() - started < 2  # the square of it would be minutes


def test_words_of_every_alphabet_stay_words(tmp_path):
    nfd = lambda text: unicodedata.normalize('NFD', text)  # noqa: E731 - what lower case brings with it
    words = nfd('good movie 5 € 😀 today привет мир 안녕 하세요').split()
    path = tmp_path / 'v.txt'
    path.write_text('\n'.join([*SPECIAL_TOKENS, *words]) + '\n', encoding='utf-8')
    encoder = RowEncoder(FullTokenizer(path), 20, None, 'predict', None, for_cn=True)
    for text in ('good 😀 movie', '5 € today', 'Привет мир', '안녕 하세요'):
        ids, *_ = encoder.encode(text)
        pieces = encoder.tokenizer.convert_ids_to_tokens(ids)
        assert pieces == ['[CLS]', *nfd(text.lower()).split(), '[SEP]']


def test_for_cn_acts_on_texts_only(read):
    content = 'text_a\tlabel\tqid\nwin dows 今 xp\t1\t 12 \n'
    assert tokens(read(content), 0)[0] == '[CLS] win [UNK] 今 xp [SEP]'  # `windows` is not made of two words
    made = read('text_a\tlabel\nx 今 y\tgood bad\n', label_map={'good bad': 0})
    assert made.labels.tolist() == [0]
    assert read(content).qids.tolist() == [12]


def test_labels_by_map_and_float_and_multilabel(read):
    made = read('label\ttext_a\n好\tx\n坏\ty\n', label_map={'坏': 0, '好': 1})
    assert made.labels.tolist() == [1, 0]
    made = read('label\ttext_a\n-0.5\tx\n1e2\ty\n', task_kind='regression')
    assert made.labels.tolist() == [-0.5, 100] and made.labels.dtype == np.float32
    content = 'label\ttext_a\nb, a\tx\n\ty\nc\tz\n'
    made = read(content, task_kind='multilabel', num_labels=4, label_map={'a': 0, 'b': 1, 'c': 2})
    assert made.labels.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]] and made.labels.dtype == np.float32
    made = read('label\ttext_a\n1,2\tx\n', task_kind='multilabel', num_labels=3)
    assert made.labels.tolist() == [[0, 1, 1]]


def test_prediction_needs_no_label_and_reads_none(read):
    made = read('text_a\tqid\nx\t-7\ny\t9223372036854775807\n', task_kind='predict')
    assert made.labels is None and made.qids.tolist() == [-7, 2**63 - 1]
    assert read('text_a\tlabel\nx\tnonsense\n', task_kind='predict', label_map={'a': 5}).labels is None


def test_csv(read):
    made = read('text,label\n"今天，\n很热",1\nx,0\n', 'data.csv')
    assert tokens(made, 0)[0] == '[CLS] 今 天 ， 很 热 [SEP]' and made.lines.tolist() == [2, 4]


BAD_CELLS = [
    ('2', {}, r'found the label 2, expected an id in 0 \.\. 1\. Check --num_labels'),
    ('-1', {}, 'found the label -1, expected an id'),
    ('', {}, r"found the label '', expected an id in 0 \.\. 1\. --label_map_config"),
    ('1.0', {}, "found the label '1.0'"),
    ('１', {}, "found the label '１'"),
    ('1_0', {'num_labels': 20}, "found the label '1_0'"),
    ('9' * 5000, {}, 'found the label'),
    (
        'bad',
        {'label_map': {'a': 0, 'b': 1}},
        "found the label 'bad', expected one of the labels that the model has: 'a'",
    ),
    ('0', {'label_map': {'a': 0}}, "found the label '0', expected one of the labels that the model has"),
    ('nan', {'task_kind': 'regression'}, "found the label 'nan', expected a finite number"),
    ('1e39', {'task_kind': 'regression'}, "found the label '1e39', expected a finite number"),
    ('', {'task_kind': 'regression'}, "found the label '', expected a finite number"),
    ('1_0', {'task_kind': 'regression'}, "found the label '1_0', expected a finite number"),
    ('0,,1', {'task_kind': 'multilabel'}, "found the label '', expected an id"),
    ('0,2', {'task_kind': 'multilabel'}, 'found the label 2, expected an id'),
]


@pytest.mark.parametrize(('label', 'options', 'message'), BAD_CELLS)
def test_bad_labels_name_the_line(read, label, options, message):
    good = 'a' if 'label_map' in options else '1'
    with pytest.raises(UserError, match=r'data\.tsv:3: ' + message):
        read(f'text_a\tlabel\nx\t{good}\ny\t{label}\nz\t{good}\n', **options)


@pytest.mark.parametrize('qid', ['', 'x', '1.5', '1 2', '9223372036854775808', '１'])
def test_bad_qids_name_the_line(read, qid):
    with pytest.raises(UserError, match=rf"data\.tsv:2: found the qid '{qid}', expected an integer"):
        read(f'text_a\tlabel\tqid\nx\t1\t{qid}\n')


def test_missing_columns(read):
    with pytest.raises(UserError, match=r"data\.tsv:1: found the columns 'text_a', expected also a column 'label'"):
        read('text_a\nx\n')
    with pytest.raises(UserError, match=r"expected also a column 'text_a', 'label'\. The first line must name"):
        read('x\t1\ny\t0\n')


IMPOSSIBLE = [
    ({'max_seq_len': 2}, 'max_seq_len 2, expected at least 3'),
    ({'task_kind': 'rank'}, "task kind 'rank', expected one of classify"),
    ({'num_labels': 0}, 'num_labels 0'),
    ({'label_map': {'a': 0, 'b': 1, 'c': 2}}, 'found num_labels 2, expected 3 as in the label map'),
    ({'label_map': {}}, 'found no label'),
    ({'label_map': {'a': '0'}}, "found the id '0' for the label 'a'"),
    ({'label_map': {'a': 1}}, 'found ids from 1 to 1'),
    ({'label_map': {'a': 0}, 'task_kind': 'regression'}, 'a label map with a regression task'),
    ({'label_map': {'a,b': 0}, 'task_kind': 'multilabel'}, 'expected no comma'),
]


@pytest.mark.parametrize(('options', 'message'), IMPOSSIBLE)
def test_impossible_options(tokenizer, options, message):
    with pytest.raises(UsageError, match=message):
        ClassifyReader(tokenizer, **options)


def test_label_map_file(tmp_path):
    path = tmp_path / 'map.json'
    # The official map of XNLI gives one id two names.
    path.write_text('{"contradictory": 0, "contradiction": 0, "entailment": 1, "neutral": 2}', encoding='utf-8-sig')
    assert load_label_map(path) == {'contradictory': 0, 'contradiction': 0, 'entailment': 1, 'neutral': 2}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'{"a": 0,\n}', r'map\.json:2: found bad JSON'),
        (b'["a"]', 'found a JSON list'),
        (b'{}', 'found an empty object'),
        (b'"a"', 'found a JSON str'),
        (b'{"a": 0, "b": 1, "a": 2}', "found 'a' twice in one object"),
        (b'{"a": 0, "b": true}', "found the id True for the label 'b'"),
        (b'{"a": "0"}', "found the id '0'"),
        (b'{"a": 0, "b": {"c": 1}}', 'expected a whole number'),
        (b'{"a": 0, "b": 2}', r'found ids from 0 to 2, expected the ids 0 \.\. 1 without a gap'),
        (b'{"\xff": 0}', 'not UTF-8'),
        (b'[' * 100000, 'nested too deeply'),
    ],
)
def test_bad_label_map_files(tmp_path, content, message):
    path = tmp_path / 'map.json'
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_label_map(path)
    with pytest.raises(UserError, match='no such file'):
        load_label_map(tmp_path / 'missing')


def test_skipped_rows_keep_the_line_numbers_of_the_rest(read, capsys):
    content = b'text_a\tlabel\tqid\na\t1\t5\nb\t9\t6\nc\nx\t0\tq\n\xff\t0\t1\ny\t1\t7\n'
    made = read(content, skip_bad_rows=True)
    assert made.lines.tolist() == [2, 7] and made.labels.tolist() == [1, 1] and made.qids.tolist() == [5, 7]
    assert [line for line, _ in made.bad_rows.rows] == [3, 4, 5, 6] and len(made.bad_rows) == 4
    logged = capsys.readouterr().err
    assert 'data.tsv:3: found the label 9' in logged and 'data.tsv:5: found the qid' in logged
    with pytest.raises(UserError, match=r'data\.tsv:2: found 2 rows that cannot be used'):
        read('text_a\tlabel\na\t9\nb\t9\n', skip_bad_rows=True)


def test_the_first_bad_line_is_reported_whatever_its_kind(read):
    rows = ['x\t1'] * 3000
    rows[2500] = 'one cell'
    rows[2400] = 'x\t7'
    with pytest.raises(UserError, match=r'data\.tsv:2402: found the label 7'):
        read('text_a\tlabel\n' + '\n'.join(rows) + '\n')


def test_padded(read):
    made = read('text_a\ttext_b\tlabel\n今天\t坏\t1\nx\t\t0\n')
    ids, types, positions, mask = made.padded([1, 0], pad_id=9)
    assert ids.tolist() == [[1, TOKENS.index('x'), 2, 9, 9, 9], [1, 5, 6, 2, 10, 2]]
    assert types.tolist() == [[0, 0, 0, 9, 9, 9], [0, 0, 0, 0, 1, 1]]
    assert positions.tolist() == [[0, 1, 2, 9, 9, 9], [0, 1, 2, 3, 4, 5]]
    assert mask.tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6] and mask.dtype == np.float32
    assert ids.dtype == types.dtype == positions.dtype == np.int64
    with pytest.raises(IndexError, match='row 2 of 2'):
        made.row(2)


def test_a_pipe_is_read_once_and_not_cached(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('text_a\tlabel\nx\t1\n',))
    writer.start()
    assert len(ClassifyReader(tokenizer).read(pipe)) == 1
    writer.join()
    assert not (tmp_path / 'cache').exists()


DATA = os.environ.get('ERNIE_TEST_DATA', '')


@pytest.mark.skipif(not os.path.isdir(DATA), reason='ERNIE_TEST_DATA names no folder of data')
@pytest.mark.parametrize(
    ('folder', 'options'),
    [
        ('xnli', {'num_labels': 3}),
        ('lcqmc_sample', {}),
        ('cmrc2018_dbqa', {}),
        ('stsb_en', {'task_kind': 'regression', 'for_cn': False}),
        ('thucnews_titles', {'num_labels': 10}),
        ('rte_en', {'for_cn': False}),
    ],
)
def test_real_files_give_the_rows_that_a_plain_loop_gives(folder, options):
    label_map = os.path.join(DATA, folder, 'label_map.json')
    vocab = 'vocab_en.txt' if folder.endswith('_en') else 'vocab.txt'
    tokenizer = FullTokenizer(os.path.join(DATA, 'ernie_official', vocab))
    labels = load_label_map(label_map) if os.path.exists(label_map) else None
    reader = ClassifyReader(tokenizer, 61, labels, cache=False, processes=2, **options)
    path = os.path.join(DATA, folder, 'dev.tsv')
    made = reader.read(path)
    with open(path, encoding='utf-8') as f:
        header, *lines = [line.rstrip('\n').split('\t') for line in f.read().split('\n') if line]
    assert len(made) == len(lines) and made.lines.tolist() == list(range(2, len(lines) + 2))
    names = json.loads(pathlib.Path(label_map).read_text()) if labels else None
    for i in range(0, len(lines), 7):
        line = lines[i]
        row = dict(zip(header, line, strict=True))
        texts = [row['text_a'], row.get('text_b', '')]
        if options.get('for_cn', True):
            texts = [remove_spaces(text) for text in texts]
        a, b = (tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) for text in texts)
        while len(a) + len(b) > (58 if b else 59):
            (a if len(a) > len(b) else b).pop()
        cls, sep = tokenizer.vocab['[CLS]'], tokenizer.vocab['[SEP]']
        ids, types = made.row(i)
        assert ids.tolist() == [cls, *a, sep, *([*b, sep] if b else [])]
        assert types.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1 if b else 0)
        label = names[row['label']] if names else np.float32(row['label'])
        assert made.labels[i] == label
        assert made.qids is None or made.qids[i] == int(row['qid'])


def test_rows_that_were_cut_are_counted_and_told(tmp_path, tokenizer, monkeypatch, caplog):
    """Once more from the cache, for single texts and pairs, and for prediction."""
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    path = tmp_path / 'data.tsv'
    path.write_text('text_a\ttext_b\tlabel\n今天\t\t1\n今天很热好\t\t0\n今天很\t很热好坏\t1\n', encoding='utf-8')
    for kind in ('classify', 'classify', 'predict'):
        caplog.clear()
        made = ClassifyReader(tokenizer, 6, task_kind=kind).read(path)
        assert made.cut.tolist() == [0, 1, 4] and made.lengths.tolist() == [4, 6, 6]
        (told,) = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
        assert told == f'{path}: 2 of 3 rows do not fit into 6 tokens: 5 of their tokens were left out (--max_seq_len)'
    caplog.clear()
    ClassifyReader(tokenizer, 20).read(path)
    assert not [record for record in caplog.records if record.levelname == 'WARNING']


def test_a_label_that_looks_like_another_is_shown_by_code_point(read):
    label_map = {'caf\u00e9': 0, 'bad': 1}
    for kind, cell in (('classify', 'cafe\u0301'), ('multilabel', 'bad,cafe\u0301')):
        with pytest.raises(UserError, match=r'data\.tsv:2: .* U\+0065 U\+0301, the other U\+00E9'):
            read(f'text_a\tlabel\nx\t{cell}\n', label_map=label_map, task_kind=kind)
    with pytest.raises(UserError, match=r"and 'bad': they look alike, .* U\+200B, the other nothing"):
        read('text_a\tlabel\nx\tbad\u200b\n', label_map=label_map)
    assert read('text_a\tlabel\nx\tbad \n', label_map=label_map).labels.tolist() == [1]
    with pytest.raises(UserError) as e:
        read('text_a\tlabel\nx\tcafe\n', label_map=label_map)
    assert 'alike' not in str(e.value)


def test_what_is_noticed_is_said_again_from_the_cache(tmp_path, tokenizer, monkeypatch, caplog):
    """By the name that the file has now."""
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    for name in ('one.tsv', 'two.tsv'):
        path = tmp_path / name
        path.write_text('text_a\tlabel\n"今天\t1\n好\t0\n\t\n\n', encoding='utf-8')
        caplog.clear()
        assert len(ClassifyReader(tokenizer, 6).read(path)) == 2
        told = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
        assert len(told) == 2
        assert told[0].startswith(f"{path}:2: the cell '\"今天' begins with a double quote")
        assert told[1] == f'{path}: 2 blank lines at the end (from line 4 on) are no rows'
    assert len(list((tmp_path / 'cache' / 'tokenized').iterdir())) == 1
