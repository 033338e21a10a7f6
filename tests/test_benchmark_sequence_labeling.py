"""The judge of `benchmark.sequence_labeling`."""

import argparse

import pytest

from benchmark.sequence_labeling import RECIPES, aligned, seqeval_scores, training_flags
from propeller.errors import UsageError, UserError


def test_labels_of_tokens_that_were_not_read_are_O():
    tokens = ['New', 'Yo rk', '\u200b', 'is', 'far', 'away']
    assert aligned(tokens, ['New', 'York', 'is'], ['B-L', 'I-L', 'O']) == ['B-L', 'I-L', 'O', 'O', 'O', 'O']
    assert aligned(['a', 'a', 'b'], ['a', 'a', 'b'], ['X', 'Y', 'Z']) == ['X', 'Y', 'Z']


def test_scores_by_hand(tmp_path):
    dev, found = tmp_path / 'dev.tsv', tmp_path / 'found'
    dev.write_text('text_a\tlabel\na\x02b\x02c\tB-X\x02I-X\x02B-Y\nd\x02e\tO\x02B-X\n', encoding='utf-8')
    found.write_text('a b c\tB-X I-X O\t1 1 1\nd\tB-Y\t1\n', encoding='utf-8')
    assert seqeval_scores(str(dev), str(found)) == pytest.approx((0.4, 1 / 2, 1 / 3))


def test_what_is_missing_is_said(tmp_path):
    args = argparse.Namespace(data=None, model=None, threads=1, seed=1, max_steps=0)
    with pytest.raises(UsageError, match='--data'):
        training_flags(RECIPES['wnut'], args, 'c')
    args.data = str(tmp_path)
    with pytest.raises(UserError, match='train.tsv: found no such file'):
        training_flags(RECIPES['wnut'], args, 'c')
    (tmp_path / 'msra_ner').mkdir()
    for name in ('train.tsv', 'dev.tsv', 'label_map.json'):
        (tmp_path / 'msra_ner' / name).touch()
    with pytest.raises(UsageError, match='--model'):
        training_flags(RECIPES['msra'], args, 'c')
