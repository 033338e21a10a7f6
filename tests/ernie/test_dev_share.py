"""Rows that are held out to evaluate with: by text and label alone, of every class, and no text on both sides."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ernie.reader.classify import ClassifyReader
from ernie.reader.sequence_label import SequenceLabelReader
from ernie.reader.text_keys import text_key
from ernie.survey.dev_share import held_out
from ernie.survey.duplicates import contradictions, repeated, shared
from ernie.tokenization import FullTokenizer
from tests.ernie import tiny_tagging
from tests.ernie.tiny_model import VOCABULARY, sentences, table

ROWS = st.lists(st.tuples(st.integers(0, 40), st.sets(st.integers(0, 5), max_size=3)), min_size=2, max_size=120)


@given(ROWS, st.sampled_from([0.05, 0.1, 0.3, 0.5]))
def test_no_text_is_on_both_sides_and_each_class_on_each(rows, share):
    keys = np.array([hash(('k', key)) for key, _ in rows])
    pairs = [(i, label) for i, (_, labels) in enumerate(rows) for label in labels]
    owners, classes = np.array(pairs, np.int64).reshape(-1, 2).T
    held = held_out(keys, owners, classes, share)
    assert not set(keys[held]) & set(keys[~held])
    assert not held.all()
    # Texts of one class each: every class of two texts is on both sides.
    texts_of = {}
    for i, label in pairs:
        texts_of.setdefault(label, set()).add(keys[i])
    alone = all(sum(key in texts for texts in texts_of.values()) <= 1 for key in keys)
    for label, texts in texts_of.items():
        if alone and len(texts) > 1:
            of_it = owners[classes == label]
            assert held[of_it].any() and not held[of_it].all(), label


def test_the_share_is_kept_in_each_class_and_the_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(7)
    keys, labels = rng.permutation(10**6)[:3000], np.repeat([0, 1, 2], [2000, 900, 100])
    held = held_out(keys, np.arange(3000), labels, 0.1)
    assert np.bincount(labels[held]).tolist() == [200, 90, 10]
    order = rng.permutation(3000)
    again = held_out(keys[order], np.arange(3000), labels[order], 0.1)
    assert set(keys[held]) == set(keys[order][again])


def test_a_rare_class_of_texts_with_several_is_on_both_sides():
    # Class 1 is only there beside class 0, class 2 in two texts.
    keys = np.arange(40)
    pairs = [*((i, 0) for i in range(40)), *((i, 1) for i in range(10)), (30, 2), (31, 2)]
    owners, classes = np.array(pairs).T
    held = held_out(keys, owners, classes, 0.1)
    for label in range(3):
        of_it = owners[classes == label]
        assert held[of_it].any() and not held[of_it].all()
    assert 3 <= held.sum() <= 6


def test_texts_of_other_case_width_and_space_have_one_key():
    same = ['ABC 好', 'abc  好', 'ａｂｃ\u3000好\n', unicodedata.normalize('NFD', 'ABC 好')]
    assert len({text_key(text) for text in same}) == 1
    assert text_key('각') == text_key(unicodedata.normalize('NFD', '각'))
    assert text_key('a', 'b') != text_key('ab') != text_key('a b') and text_key('a', 'b') != text_key('b', 'a')
    assert text_key('好') == 1635695421797740542  # as on every other machine


@pytest.fixture(scope='module')
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp('v') / 'vocab.txt'
    path.write_text('\n'.join(VOCABULARY), encoding='utf-8')
    return FullTokenizer(str(path))


@pytest.mark.parametrize('cache', [False, True])
def test_some_rows_of_a_set_are_those_of_a_file_that_has_no_others(tmp_path, monkeypatch, tokenizer, cache):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    wanted = np.array([0, 3, 4, 11])
    rows, tagged = sentences(13, 5, most=20), tiny_tagging.sentences(13, 5, most=20)
    files = {
        'all.tsv': rows,
        'some.tsv': [rows[i] for i in wanted],
    }
    read = lambda path: ClassifyReader(tokenizer, 9, cache=cache).read(path)  # noqa: E731
    whole, part = (read(table(tmp_path / name, some)) for name, some in files.items())
    same(whole.take(wanted), part)
    assert whole.take(wanted).lines.tolist() == [2, 5, 6, 13]
    reader = SequenceLabelReader(tokenizer, 9, tiny_tagging.label_map(), cache=cache)
    whole, part = (
        reader.read(tiny_tagging.write_conll(tmp_path / name, some))
        for name, some in (('all.conll', tagged), ('some.conll', [tagged[i] for i in wanted]))
    )
    taken = whole.take(wanted)
    same(taken, part)
    assert all(taken.labels_cut_off(i).tolist() == part.labels_cut_off(i).tolist() for i in range(4))


def same(taken, part):
    assert len(taken) == len(part) and taken.cut.sum() > 0
    for name in taken.ARRAYS:
        if name != 'lines' and getattr(part, name) is not None:
            np.testing.assert_array_equal(getattr(taken, name), getattr(part, name), name)
            assert getattr(taken, name).dtype == getattr(part, name).dtype


def test_texts_with_two_labels_and_texts_of_both_sets(tmp_path, tokenizer):
    rows = [('好的', 1), ('差的', 0), (' 好的', 1), ('好的 ', 0), ('坏的', 0), ('差的', 1)]
    train = ClassifyReader(tokenizer, 9, cache=False).read(table(tmp_path / 't.tsv', rows))
    dev = ClassifyReader(tokenizer, 9, cache=False).read(
        table(tmp_path / 'd.tsv', [('好', 1), ('坏的', 0), ('坏的', 1)])
    )
    assert contradictions(train) == (2, (3, 7)) and repeated(train) == 3
    assert shared(dev.keys, train.keys) == 2 and contradictions(dev) == (1, (3, 4))
    assert contradictions(train.take([0, 1])) == (0, None)
