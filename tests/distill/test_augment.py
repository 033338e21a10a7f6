"""`distill/augment.py`, `segment.py`, `build_vocab.py`: rules, golden rows, any number of processes, faults."""

import random
import re
from collections import Counter

import pytest
from scipy import stats

from distill import augment, build_vocab, segment, teacher_outputs, wait_for_teacher
from ernie.distill.augmentation import Mixture, WordTable, add_noise, replace_same_pos, sample_fragment
from ernie.distill.augmenting import augment_files
from ernie.distill.segmented import Segmenter, Words
from ernie.distill.text_files import read_texts
from ernie.pretrain.building import lexers
from ernie.tokenizers.words import lexer_beside
from propeller.errors import UsageError, UserError
from tests.distill.common import write

TAGGED = [
    '我/r 喜欢/v 北京/ns 的/u 秋天/t',
    '她/r 讨厌/v 这/r 家/q 酒店/n ，/w',
    'room/n 很/d 小/a',
    '안녕/n 하세요/v',
]
# Made by `augment.py --lexer spaces --copies 2 --seed 7` of `TAGGED`, read and found right.
GOLDEN = [
    '她 喜欢 北京 的 秋天\t她喜欢北京的秋天',
    '[UNK] 讨厌 这 家 [UNK] [UNK]\t[UNK]讨厌这家[UNK][UNK]',
    'room 很 小\troom很小',
    '안녕 하세요\t안녕 하세요',
    '我 讨厌 北京 的 秋天\t我讨厌北京的秋天',
    '我 讨厌 这 家 酒店 ，\t我讨厌这家酒店，',
    '很 小\t很小',
    '[UNK] [UNK]\t[UNK][UNK]',
]


def words(count):
    return Words([f'w{i}' for i in range(count)], ['n'] * count, [False] * count)


def test_golden_rows(tmp_path):
    write(tmp_path / 'in', TAGGED)
    augment.main(
        ['--input', str(tmp_path / 'in'), '--output', str(tmp_path / 'out'), '--lexer', 'spaces', '--copies', '2']
        + ['--seed', '7', '--noise_probability', '0.4', '--pos_probability', '0.5']
    )
    assert (tmp_path / 'out').read_text(encoding='utf-8').splitlines() == GOLDEN


def test_the_rows_do_not_depend_on_the_number_of_processes(tmp_path):
    write(tmp_path / 'in', [f'{text} 第{i}/m' for i in range(2500) for text in TAGGED])
    ask = ([str(tmp_path / 'in')], '1', 'spaces', '', Mixture(), 1, 3)
    alone, several = list(augment_files(*ask, 1)), list(augment_files(*ask, 2))
    assert alone == several and len(alone) == 10_000
    assert alone != list(augment_files(*ask[:-1], 4, 1))


def test_noise_is_binomial():
    rng, count = random.Random(1), 20_000
    found = add_noise(words(count), 0.1, rng).texts
    masked = sum(text == '[UNK]' for text in found)
    assert stats.binomtest(masked, count, 0.1).pvalue > 0.001
    assert all(text in ('[UNK]', f'w{i}') for i, text in enumerate(found))


def test_words_are_drawn_by_their_part_of_speech_as_often_as_they_occur():
    counts = {('n', '猫'): 1, ('n', '狗'): 3, ('v', '跑'): 9}
    text = Words(['猫', '?'] * 4000, ['n', 'x'] * 4000, None)
    found = Counter(replace_same_pos(text, 1.0, WordTable(counts), random.Random(2)).texts)
    assert found['?'] == 4000 and set(found) == {'?', '猫', '狗'}
    assert stats.binomtest(found['猫'], 4000, 0.25).pvalue > 0.001


def test_fragments_are_uniform_in_length_and_place():
    rng, text = random.Random(3), words(4)
    found = Counter(tuple(sample_fragment(text, rng).texts) for _ in range(20_000))
    assert stats.chisquare([sum(n for t, n in found.items() if len(t) == k) for k in range(5)]).pvalue > 0.001
    assert stats.chisquare([found[t] for t in found if len(t) == 2]).pvalue > 0.001
    assert len(found) == 1 + 4 + 3 + 2 + 1


def test_each_rule_has_its_ratio():
    rng = random.Random(4)
    found = Counter(Mixture(1, 2, 5).chosen(rng) for _ in range(8000))
    assert stats.chisquare([found[r] for r in ('noise', 'pos', 'sample')], [1000, 2000, 5000]).pvalue > 0.001
    assert {Mixture(0, 0, 1).chosen(rng) for _ in range(99)} == {'sample'}


def test_raw_text_keeps_its_spaces():
    pytest.importorskip('rjieba')
    found = Segmenter('rjieba')('我 爱 New York，\u3000真的')
    assert found.joined() == '我 爱 New York， 真的' and 'New' in found.texts
    assert all(not text.isspace() and tag for text, tag in zip(found.texts, found.tags, strict=True))
    assert found.cut(2, 4).joined() == 'New York'


def test_words_that_came_segmented_are_joined_for_the_teacher():
    assert Segmenter('spaces')('我 爱 New York ， 안녕 하세요').joined() == '我爱New York，안녕 하세요'


def test_a_tagger_for_segmented_text():
    pytest.importorskip('rjieba')
    found = Segmenter('spaces', 'rjieba')('酒店 [UNK] 很 好')
    assert found.tags == ['n', '', 'zg', 'a'] and found.gaps is None


def test_segmented_rows_with_labels_and_with_raw_text(tmp_path):
    path = write(tmp_path / 'in', ['label\ttext', '1\t很/d 好/a', '0\troom/n 小/a'])
    flags = ['--input', str(path), '--column', 'text', '--lexer', 'spaces', '--output', str(tmp_path / 'out')]
    segment.main([*flags, '--second', 'label'])
    assert (tmp_path / 'out').read_text(encoding='utf-8') == '很 好\t1\nroom 小\t0\n'
    segment.main([*flags, '--second', 'raw'])
    assert (tmp_path / 'out').read_text(encoding='utf-8') == '很 好\t很好\nroom 小\troom小\n'
    with pytest.raises(UserError, match=r"in:2: found no column 'lable', expected that of --second"):
        segment.main([*flags, '--second', 'lable'])


def test_a_word_list(tmp_path):
    path = write(tmp_path / 'in', ['b a [UNK] A\t1', 'c b a\t0', '[pad] d\t1'])
    build_vocab.main(['--input', str(path), '--output', str(tmp_path / 'v'), '--size', '8'])
    first = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    assert (tmp_path / 'v').read_text().split('\n') == [*first, 'a', 'b', 'c', '']
    assert not (tmp_path / 'tokenizer_config.json').exists()
    build_vocab.main(['--input', str(path), '--output', str(tmp_path / 'v'), '--min_count', '2', '--lexer', 'words'])
    assert lexer_beside(tmp_path / 'v') == 'words'
    assert (tmp_path / 'v').read_text().split('\n') == [*first, 'a', 'b', '']


@pytest.mark.parametrize(
    'content, column, message',
    [
        (b'', '1', 'in: found an empty file, expected at least one line'),
        (b'a\tb\n', 'b', 'in: found a header alone, expected texts, one a line'),
        (b'a\n\xe4\xbd\n', '1', 'in:2: found byte 0xe4 that is not UTF-8'),
        (b'a\tb\nc\n', '2', 'in:2: found 1 columns, expected at least 2'),
        (b'a\n \tx\n', '1', 'in:2: found no text, expected a text'),
        (b'a\tb\n', 'texte', "in:1: found the columns 'a', 'b', expected the column 'texte'"),
    ],
)
def test_faults_of_files(tmp_path, content, column, message):
    (tmp_path / 'in').write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(read_texts([str(tmp_path / 'in')], column))
    assert message in str(caught.value)


def test_faults_of_flags(tmp_path):
    path = str(write(tmp_path / 'in', ['很 好']))
    flags = ['--input', path, '--lexer', 'spaces', '--output']
    with pytest.raises(UserError, match='found no word with a part of speech'):
        augment.main([*flags, str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()
    with pytest.raises(UserError, match='the same file as'):
        augment.main([*flags, path])
    with pytest.raises(UsageError, match='found 0, expected one above 0'):
        augment.main([*flags, str(tmp_path / 'out'), '--noise_ratio', '0', '--pos_ratio', '0', '--sample_ratio', '0'])


def test_a_lexer_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(lexers.Jieba, 'module', 'no_such_module')
    with pytest.raises(UserError, match=r'needs the package jieba>=0.42.1, .* Run: pip install "jieba>=0.42.1"'):
        Segmenter('jieba')


FLAGS = {
    augment: 'column copies input lexer noise_probability noise_ratio output pos_probability pos_ratio processes '
    'sample_ratio seed tagger',
    segment: 'column input lexer output processes second',
    build_vocab: 'column do_lower_case input lexer min_count output size',
    teacher_outputs: 'batch_size column engine input max_seq_len output precision teacher',
    wait_for_teacher: 'pid seconds teacher_host',
}


@pytest.mark.parametrize('program', FLAGS, ids=lambda program: program.__name__)
def test_flags(program, capsys):
    with pytest.raises(SystemExit):
        program.main(['--help'])
    usage = capsys.readouterr().out.partition('\n\n')[0]
    assert set(re.findall(r'--(\w+)', usage)) == {'config', *FLAGS[program].split()}
