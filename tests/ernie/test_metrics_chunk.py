"""Chunks and their scores against seqeval, and the rules of the schemes."""

import json
import warnings

import numpy as np
import pytest
from seqeval.metrics import classification_report
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOBES, IOE2

from ernie.decoding.scheme import (
    SCHEMES,
    Chunk,
    chunks,
    first_broken,
    piece_labels,
    scheme_fault,
    token_label,
)
from ernie.metrics.chunk import ChunkScores
from ernie.metrics.report import confusion_tsv, format_report

TYPES = ('PER', 'creative-work', 'LOC.NAM')
SEQEVAL = {'IO': {}, 'IOB': {}, 'IOE': {'mode': 'strict', 'scheme': IOE2}, 'IOBES': {'mode': 'strict', 'scheme': IOBES}}


def names_of(scheme, types=TYPES):
    return ['O'] + [f'{prefix}-{kind}' for kind in types for prefix in SCHEMES[scheme].prefixes]


def random_pairs(scheme, seed=0, count=1000):
    """Label sequences of 1 to 13 tokens with all transitions, legal or not, and predictions that share 6 of 10."""
    rng, names = np.random.default_rng(seed), names_of(scheme)
    true = [[str(x) for x in rng.choice(names, rng.integers(1, 14))] for _ in range(count)]
    return true, [[x if rng.random() < 0.6 else str(rng.choice(names)) for x in row] for row in true]


def scores_of(scheme, true, found, types=()):
    scores = ChunkScores(scheme, types)
    for labels, predictions in zip(true, found, strict=True):
        scores.add(labels, predictions)
    return scores


@pytest.mark.parametrize('scheme', SCHEMES)
def test_equal_to_seqeval_on_random_sequences(scheme):
    true, found = random_pairs(scheme)
    report = scores_of(scheme, true, found).report()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        expected = classification_report(true, found, output_dict=True, **SEQEVAL[scheme])
    rows = {row['name']: row for row in report['classes']}
    assert set(rows) == set(TYPES) and min(row['support'] for row in rows.values()) > 100
    rows |= {name: report[name.replace(' ', '_')] for name in ('micro avg', 'macro avg', 'weighted avg')}
    for name, row in rows.items():
        for ours, theirs in (('precision',) * 2, ('recall',) * 2, ('f1', 'f1-score'), ('support',) * 2):
            assert row[ours] == pytest.approx(expected[name][theirs], abs=1e-12), (name, ours)


def operator_chunks(labels):
    """The chunk operator of 2019, its rules as a table (B, I, E, S and O)."""
    found, start, before = [], None, ('O', '')
    for i, label in enumerate([*labels, 'O']):
        tag, kind = label[0], label[2:]
        tag_before, kind_before = before
        if tag_before == 'O':
            ends, begins = False, tag != 'O'
        elif tag == 'O':
            ends, begins = True, False
        elif kind != kind_before:
            ends = begins = True
        else:
            ends = (tag_before in 'BI' and tag in 'BS') or tag_before in 'ES'
            begins = tag in 'BS' or (tag in 'IE' and tag_before in 'ES')
        if ends:
            found.append(Chunk(kind_before, start, i))
        if begins:
            start = i
        before = tag, kind
    return found


@pytest.mark.parametrize('scheme', ['IO', 'IOB'])
def test_equal_to_the_operator_of_2019_and_to_seqevals_entities(scheme):
    for row in (row for pair in random_pairs(scheme, seed=1) for row in pair):
        assert chunks(row, scheme) == operator_chunks(row)
        assert [(c.type, c.start, c.end - 1) for c in chunks(row, scheme)] == get_entities(row)


@pytest.mark.parametrize('scheme', ['IOE', 'IOBES'])
def test_equal_to_the_operator_on_whole_chunks(scheme):
    rows = [row for pair in random_pairs(scheme, seed=2, count=4000) for row in pair]
    whole = [row for row in rows if first_broken(row, scheme) is None]
    assert len(whole) > 300 and sum(len(chunks(row, scheme)) > 1 for row in whole) > 30
    assert all(chunks(row, scheme) == operator_chunks(row) for row in whole)


@pytest.mark.parametrize(
    ('scheme', 'labels', 'expected', 'broken'),
    [
        ('IOB', 'I-A I-A B-A I-B O', [('A', 0, 2), ('A', 2, 3), ('B', 3, 4)], None),
        ('IO', 'I-A I-A I-B O I-B', [('A', 0, 2), ('B', 2, 3), ('B', 4, 5)], None),
        ('IOE', 'I-A E-A E-A I-B O', [('A', 0, 2), ('A', 2, 3)], 3),
        ('IOBES', 'B-A I-A E-A S-B B-A O', [('A', 0, 3), ('B', 3, 4)], 4),
        ('IOBES', 'O I-A E-A', [], 1),
        ('IOBES', 'B-A E-B', [], 0),
        ('IOBES', 'B B E S', [('_', 1, 3), ('_', 3, 4)], 0),
        ('IOB', '', [], None),
    ],
)
def test_chunks_by_hand(scheme, labels, expected, broken):
    labels = labels.split()
    assert chunks(labels, scheme) == [Chunk(*chunk) for chunk in expected]
    assert first_broken(labels, scheme) == broken


@pytest.mark.parametrize('scheme', SCHEMES)
@pytest.mark.parametrize('count', [1, 2, 3, 7])
def test_labels_of_pieces_and_back(scheme, count):
    for known in (names_of(scheme), None):
        for label in names_of(scheme):
            pieces = piece_labels(label, count, known or [label])  # a map without the other prefixes repeats
            assert len(pieces) == count and token_label(pieces[0], pieces[-1], scheme) == label
            assert known is not None or pieces == [label] * count


def test_labels_of_pieces_are_those_of_2019():
    known = names_of('IOBES')
    assert piece_labels('O', 2, known) == ['O', 'O']
    assert piece_labels('I-PER', 3, known) == ['I-PER'] * 3
    assert piece_labels('B-PER', 3, known) == ['B-PER', 'I-PER', 'I-PER']
    assert piece_labels('S-PER', 3, known) == ['B-PER', 'I-PER', 'E-PER']
    assert piece_labels('E-PER', 3, known) == ['I-PER', 'I-PER', 'E-PER']
    assert piece_labels('S-PER', 2, known) == ['B-PER', 'E-PER'] and piece_labels('S-PER', 1, known) == ['S-PER']


def test_a_label_that_is_not_of_the_scheme():
    for scheme in SCHEMES:
        assert scheme_fault(names_of(scheme), scheme) is None
    assert scheme_fault(['O', 'B-A', 'E-A'], 'IOB')[0] == "the label 'E-A'"
    assert scheme_fault(['B-A'], 'IO') and scheme_fault(['NOUN'], 'IOBES') and scheme_fault([''], 'IOB')


def test_report():
    true = [['B-A', 'I-A', 'O', 'B-B'], ['O', 'O']]
    found = [['B-A', 'I-A', 'B-A', 'B-A'], ['O', 'O']]
    report = json.loads(json.dumps(scores_of('IOB', true, found, ['C', 'B', 'A']).report()))
    assert [row['name'] for row in report['classes']] == ['B', 'A']  # C never occurs
    assert report['accuracy'] == pytest.approx(4 / 6)
    assert report['confusion_names'] == ['B', 'A', 'O']
    assert report['confusion_matrix'] == [[0, 1, 0], [0, 2, 0], [0, 1, 2]]
    text = format_report(report)
    assert 'micro avg' in text and '0.4000' in text  # P 1/3, R 1/2
    assert confusion_tsv(report).splitlines()[1] == 'B\t0\t1\t0'


def test_nothing_scores_zero():
    scores = ChunkScores('IOB')
    assert scores.micro() == {'precision': 0.0, 'recall': 0.0, 'f1': 0.0, 'support': 0}
    scores.add(['O', 'O'], ['O', 'O'])
    report = scores.report()
    assert report['classes'] == [] and report['accuracy'] == 1.0 and report['confusion_matrix'] == [[2]]
    assert 'macro avg' in format_report(report)
