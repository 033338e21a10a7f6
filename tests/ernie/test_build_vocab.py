"""Vocabularies out of a corpus: counts against `Counter`, coverage, and the round trip through the tokenizers."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.pretrain import build_vocab
from ernie.pretrain.vocabulary import (
    FIRST_TOKENS,
    build_vocabulary,
    by_frequency,
    choose_alphabet,
    reading_rates,
    write_vocabulary,
)
from ernie.pretrain.word_counts import BoundedCounter, WordCutter, count_corpus
from ernie.tokenization import CharTokenizer, FullTokenizer, load_vocab
from ernie.tokenizers.text import basic_words
from propeller.errors import UsageError, UserError

ROOT = Path(__file__).resolve().parents[2]
ODD = [
    '今天很热，abc 今天！',
    'Ärger und Émile 12.5% 中国Paddle2019',
    '[CLS]i have [MASK] 東京タワー へ行く',
    'a\u200bb \U0001f600 \U00020000 한국어 \u3000 ##x # ##',
    'ΟΔΥΣΣΕΥΣ straße \ufffd naïve naïve naïve',
    '今天很热',
]
ENGLISH = [
    'the lowest lower low lows newer newest new wider widest wide',
    'low lower lowest; newer newest. The widest, the newest: the lowest!',
] * 7


def corpus(tmp_path, lines, name='corpus.txt'):
    path = tmp_path / name
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return str(path)


def run(tmp_path, lines, *flags, name='corpus.txt'):
    """(tokens in order, figures) of the program."""
    output, report = tmp_path / 'vocab.txt', tmp_path / 'report.json'
    path = corpus(tmp_path, lines, name)
    build_vocab.main(['--input', path, '--output', str(output), '--report', str(report), '--processes', '1', *flags])
    return list(load_vocab(output)), json.loads(report.read_text(encoding='utf-8'))


EVERYTHING = ('--min_count', '1', '--held_out', '0')


def plain_pieces(lines, lower=True):
    """The oracle: character pieces counted one by one."""
    return Counter(
        ('##' if i else '') + char for line in lines for word in basic_words(line, lower) for i, char in enumerate(word)
    )


@pytest.mark.parametrize('lower', [True, False])
@pytest.mark.parametrize('processes', [1, 3])
def test_counts_are_exact(lower, processes):
    lines = ODD * 300
    found = count_corpus(lines, WordCutter(do_lower_case=lower), processes=processes)
    assert found.characters == plain_pieces(lines, lower)
    assert found.words.counts == Counter(word for line in lines for word in basic_words(line, lower))
    assert (found.lines, found.held_out_lines, found.words.shortfall) == (len(lines), 0, 0)


@given(st.lists(st.text(), max_size=8), st.integers(0, 4))
@settings(max_examples=60)
def test_counts_of_any_text(lines, hold_out):
    found = count_corpus(lines, WordCutter(), hold_out=hold_out)
    kept = [line for i, line in enumerate(lines, 1) if not hold_out or i % hold_out]
    held = [line for i, line in enumerate(lines, 1) if hold_out and not i % hold_out]
    assert found.characters == plain_pieces(kept)
    assert found.held_out_words.counts == Counter(word for line in held for word in basic_words(line, True))
    assert (found.lines, found.held_out_lines) == (len(kept), len(held))


def test_order_is_by_count_then_code_point():
    assert by_frequency({'b': 2, 'a': 2, '中': 5, 'z': 1, '##a': 2}) == ['中', '##a', 'a', 'b', 'z']
    assert by_frequency({'b': 2, 'a': 3, 'z': 1}, min_count=2) == ['a', 'b']


def test_characters_are_the_most_frequent_ones(tmp_path):
    pieces = plain_pieces(ODD)
    expected = sorted(pieces, key=lambda piece: (-pieces[piece], piece))
    tokens, figures = run(tmp_path, ODD, *EVERYTHING)
    assert tokens == ['[PAD]', '[CLS]', '[SEP]', '[MASK]', *expected, '[UNK]']
    assert figures['characters'] == pieces.total()
    assert (figures['counted']['coverage'], figures['counted']['unknown_rate']) == (1, 0)
    cut, _ = run(tmp_path, ODD, *EVERYTHING, '--size', '13')
    assert cut == tokens[:12] + ['[UNK]']


def test_special_tokens_stand_where_the_published_vocabulary_has_them(tmp_path):
    data = os.environ.get('ERNIE_TEST_DATA')
    if not data:
        pytest.skip('ERNIE_TEST_DATA is not set')
    published = list(load_vocab(f'{data}/ernie_official/vocab.txt'))
    tokens, _ = run(tmp_path, ODD, *EVERYTHING)
    for token in ('[PAD]', '[CLS]', '[SEP]', '[MASK]'):
        assert tokens.index(token) == published.index(token)
    assert tokens.index('[UNK]') - len(tokens) == published.index('[UNK]') - len(published) == -1


@pytest.mark.parametrize('kind', ['characters', 'wordpiece', 'sentencepiece'])
@pytest.mark.parametrize('lower', [True, False])
def test_round_trip(tmp_path, kind, lower):
    lines = ODD + ENGLISH
    run(tmp_path, lines, *EVERYTHING, '--kind', kind, '--size', '300', '--do_lower_case', str(lower))
    tokenizer = FullTokenizer(str(tmp_path / 'vocab.txt'), do_lower_case=lower)
    for line in lines:
        pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode(line))
        assert pieces == tokenizer.tokenize(line)
        assert '[UNK]' not in pieces
        joined = [piece[2:] if piece.startswith('##') and len(piece) > 2 else piece for piece in pieces]
        assert ''.join(joined) == ''.join(basic_words(line, lower))


@pytest.mark.parametrize('kind', ['wordpiece', 'sentencepiece'])
def test_pieces_are_longer_than_characters(tmp_path, kind):
    tokens, figures = run(tmp_path, ENGLISH, *EVERYTHING, '--kind', kind, '--size', '60')
    letters = len(plain_pieces(ENGLISH))
    assert [token for token in tokens if len(token.removeprefix('##')) == 1] == tokens[4 : 4 + letters]
    longer = tokens[4 + letters : -1]
    assert len(longer) > 5
    words = ' '.join(basic_words(' '.join(ENGLISH), True))
    assert all(token.removeprefix('##') in words for token in longer)
    _, alone = run(tmp_path, ENGLISH, *EVERYTHING)
    assert figures['counted']['pieces'] < alone['counted']['pieces']


def test_wordpiece_merges_the_most_frequent_pair_first():
    counts = count_corpus(['ab ab ab abc bc bc'], WordCutter())
    tokens = build_vocabulary('wordpiece', counts, 100)
    assert tokens == [*FIRST_TOKENS, '##b', 'a', '##c', 'b', 'ab', 'bc', 'abc', '[UNK]']


@pytest.mark.parametrize('kind', ['wordpiece', 'sentencepiece'])
def test_the_same_in_every_process(tmp_path, kind):
    """The library counts in a hash table whose order differs from process to process."""
    words = [f'{a}{b}{c}' for a in ('xy', 'zw', 'yx') for b in ('pq', 'rs', 'qr') for c in ('kl', 'mn', 'lm')]
    path = corpus(tmp_path, [f'{word} {word[2:]} {word[:4]}' for word in words * 2])
    made = []
    for i in range(4):
        output = tmp_path / f'{i}.txt'
        flags = ['--input', path, '--output', str(output), '--size', '60', '--kind', kind, '--processes', '1']
        environment = os.environ | {'PYTHONHASHSEED': str(i), 'PYTHONPATH': str(ROOT)}
        command = [sys.executable, '-m', 'ernie.pretrain.build_vocab', *flags]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        made.append(output.read_bytes())
    assert made.count(made[0]) == 4
    assert made[0].count(b'\n') > 30


def test_words_for_segmented_text(tmp_path):
    lines = ['我们 喜欢 上海 ABC', '我们 在 上海', '##x 我们 [MASK]']
    flags = ('--kind', 'words', '--tokenizer', 'CharTokenizer')
    tokens, figures = run(tmp_path, lines, *EVERYTHING, *flags)
    assert tokens[4:-1] == ['我们', '上海', '[mask]', 'abc', '喜欢', '在']
    assert CharTokenizer(str(tmp_path / 'vocab.txt')).tokenize(lines[0]) == ['我们', '喜欢', '上海', 'abc']
    assert figures['counted']['unknown_words'] == 1
    cased, _ = run(tmp_path, lines, *EVERYTHING, *flags, '--do_lower_case', 'false')
    assert '[MASK]' not in cased[4:]
    assert 'ABC' in cased


def test_words_of_a_lexer(tmp_path):
    jieba = pytest.importorskip('jieba.posseg')
    lines = ['我爱北京天安门。', '他来到了网易杭研大厦。']
    flags = ('--kind', 'words', '--tokenizer', 'CharTokenizer', '--lexer', 'jieba')
    tokens, _ = run(tmp_path, lines, *EVERYTHING, *flags)
    assert set(tokens[4:-1]) == {word for line in lines for word, _ in jieba.cut(line)}


def test_tagged_text_without_its_tags(tmp_path):
    lines = ['１９９８年/t  ［/w  Hello/nx  World/nx', '在/p  １９９８年/t']
    tokens, _ = run(tmp_path, lines, *EVERYTHING, '--lexer', 'spaces', '--half_width', 'true')
    assert set(tokens[4:-1]) == set(plain_pieces(['1998 年 ［ hello world', '在 1998年']))
    flags = ('--lexer', 'spaces', '--kind', 'words', '--tokenizer', 'CharTokenizer')
    tokens, _ = run(tmp_path, lines, *EVERYTHING, *flags)
    assert tokens[4:-1] == ['１９９８年', 'hello', 'world', '在', '［']


def test_the_cutter_cuts_as_the_tokenizers_do(tmp_path):
    run(tmp_path, ODD)
    for lower in (True, False):
        for kind in (FullTokenizer, CharTokenizer):
            tokenizer = kind(str(tmp_path / 'vocab.txt'), do_lower_case=lower)
            cut = WordCutter(kind.__name__, lower)
            assert [cut(line) for line in ODD] == [tokenizer.words(line) for line in ODD]


def test_character_coverage():
    counts = {'a': 60, 'b': 30, 'c': 9, '##c': 1}
    assert choose_alphabet(counts) == ['a', 'b', 'c', '##c']
    assert choose_alphabet(counts, coverage=0.99) == ['a', 'b', 'c']
    assert choose_alphabet(counts, coverage=0.6) == ['a']
    assert choose_alphabet(counts, coverage=0.61, min_count=9) == ['a', 'b']


def test_rates_are_those_of_the_tokenizer(tmp_path):
    lines = ODD + ENGLISH
    tokens, figures = run(tmp_path, lines, '--held_out', '3', '--size', '30')
    tokenizer = FullTokenizer(str(tmp_path / 'vocab.txt'))
    for name, part in (
        ('held_out', lines[2::3]),
        ('counted', [line for i, line in enumerate(lines, 1) if i % 3]),
    ):
        words = [word for line in part for word in tokenizer.words(line)]
        pieces = [tokenizer.wordpiece_tokenizer.pieces(word) for word in words]
        unknown = sum(piece == ['[UNK]'] for piece in pieces)
        rates = figures[name]
        assert 0 < unknown == rates['unknown_words']
        assert rates['words'] == len(words)
        assert rates['unknown_rate'] == pytest.approx(unknown / sum(map(len, pieces)))
        assert rates['coverage'] == pytest.approx(1 - unknown / len(words))
    assert reading_rates(tokens, {})['unknown_rate'] is None


def test_rare_words_are_dropped_when_there_are_too_many(tmp_path, capsys):
    counter, truth = BoundedCounter(100), Counter()
    for i in range(120):
        part = Counter({f'w{j}': 1 + j % 3 for j in range(i, i + 30)}) + Counter({'the': 50})
        counter.update(part)
        truth.update(part)
        assert len(counter.counts) <= 100
    assert counter.shortfall > 0
    for word, count in truth.items():
        assert count - counter.shortfall <= counter.counts[word] <= count
    assert counter.counts['the'] == truth['the']

    lines = ['the ' + ' '.join(f'q{i}x{j}' for j in range(3)) for i in range(50)] * 2
    tokens, figures = run(tmp_path, lines, '--kind', 'words', '--max_words', '40', '--held_out', '0')
    assert figures['counts_short_by_at_most'] >= 1
    assert tokens[4] == 'the'
    assert 'rare words were dropped to stay within --max_words' in capsys.readouterr().out
    assert figures['counted'] is None


def test_long_words_are_not_counted(tmp_path, capsys):
    tokens, figures = run(tmp_path, ['x' * 101 + ' yy ' + 'z' * 100], *EVERYTHING)
    assert set(tokens[4:-1]) == {'y', '##y', 'z', '##z'}
    assert figures['words_too_long'] == 1
    assert '1 words of more than 100 characters' in capsys.readouterr().out


def test_all_kinds_of_files(tmp_path):
    folder = tmp_path / 'corpus'
    (folder / 'b').mkdir(parents=True)
    (folder / '.hidden').write_bytes(b'\0')
    (folder / 'b' / 'one.txt').write_bytes('\ufeff甲\r\n\n  乙  \n'.encode())
    with gzip.open(folder / 'b' / 'two.gz', 'wt', encoding='utf-8') as f:
        f.write('丙\n丁')
    with gzip.open(folder / 'c.jsonl.gz', 'wt', encoding='utf-8') as f:
        f.write('{"body": "戊\\n己"}\n\n{"body": ""}\n')
    output = str(tmp_path / 'vocab.txt')
    flags = ['--text_field', 'body', '--min_count', '1', '--processes', '1']
    build_vocab.main(['--input', str(folder), '--output', output, *flags])
    assert list(load_vocab(output))[4:-1] == sorted('甲乙丙丁戊己')


@pytest.mark.parametrize(
    ('name', 'content', 'text'),
    [
        ('a.txt', b'', 'a.txt: found an empty file'),
        ('a.txt', b'fine\n\xff\xfe', 'a.txt:2: found byte 0xff'),
        ('a.txt', b'x\0y', 'a.txt:1: found a NUL byte'),
        ('a.gz', gzip.compress(b'text' * 999, mtime=0)[:-12], 'a.gz: found'),
        ('a.jsonl', b'{"text": "x"}\n{', 'a.jsonl:2: found'),
        ('a.txt', b' \n\n', 'a.txt: found'),
        ('a.txt', '\u200b'.encode(), 'the corpus holds no words'),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(tmp_path, name, content, text):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        build_vocab.main(['--input', str(path), '--output', str(tmp_path / 'vocab.txt')])
    assert text in str(error.value)
    assert '\n' not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    'flags',
    [
        ['--size', '5'],
        ['--held_out', '1'],
        ['--character_coverage', '0'],
        ['--character_coverage', '1.5'],
        ['--kind', 'bytes'],
        ['--lexer', 'jieba'],
        ['--output', 'no such folder/vocab.txt'],
        ['--max_words', '0'],
    ],
)
def test_flags_that_cannot_be(tmp_path, flags):
    with pytest.raises(UsageError):
        build_vocab.parse(['--input', corpus(tmp_path, ODD), *flags])


def test_the_corpus_is_not_overwritten(tmp_path):
    path = corpus(tmp_path, ODD)
    with pytest.raises(UserError, match='the same file as'):
        build_vocab.main(['--input', path, '--output', path])


def test_input_that_is_not_there(tmp_path):
    (tmp_path / 'empty').mkdir()
    for name in ('empty', 'absent'):
        with pytest.raises(UserError, match=name):
            build_vocab.main(['--input', str(tmp_path / name), '--output', str(tmp_path / 'vocab.txt')])


def test_as_a_program(tmp_path):
    path = corpus(tmp_path, ODD)
    command = [sys.executable, '-m', 'ernie.pretrain.build_vocab', '--input', path]
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [*command, '--min_count', '1'], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith('vocab.txt: ')
    assert 'counted: 6 lines' in done.stdout
    failed = subprocess.run([*command, '--size', 'x'], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.startswith('error: ')
    assert failed.stderr.count('\n') == 1


@given(
    lines=st.lists(st.text(st.characters(), max_size=12) | st.sampled_from(['## ##a #', '[UNK] [PAD]']), max_size=6),
    cut=st.builds(WordCutter, st.sampled_from(['FullTokenizer', 'CharTokenizer']), st.booleans()),
    kind=st.sampled_from(['characters', 'words']),
    size=st.integers(6, 40),
)
@settings(max_examples=100)
def test_any_vocabulary_can_be_read(lines, cut, kind, size):
    tokens = build_vocabulary(kind, count_corpus(lines, cut), size)
    assert len(tokens) <= size
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'vocab.txt')
        write_vocabulary(path, tokens)
        assert load_vocab(path) == {token: i for i, token in enumerate(tokens)}
