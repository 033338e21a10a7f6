"""Scores of real predictions, ours beside those of the published evaluations.

    python -m benchmark.acceptance.evaluators tagging DEV.tsv PREDICTIONS
        scores of chunks beside seqeval's
    python -m benchmark.acceptance.evaluators reading DEV.json PREDICTIONS.json ...
        EM and F1 beside CMRC's and SQuAD's

DEV.tsv has a header line, its tokens and labels are joined by U+0002; PREDICTIONS is what run_sequence_labeling.py
wrote for it (`--test_save`); tokens that were cut off count as O. The labels are compared as they are (IOB, seqeval's
default mode) and converted to IOBES (its strict mode). PREDICTIONS.json is `dev_predictions.json` of run_mrc.py.

All averages and types are compared, and each question for itself. Exit code 1 when anything differs.
"""

import argparse
import json
import sys
import warnings

from benchmark.acceptance import published
from benchmark.sequence_labeling import labels_of
from ernie.metrics.chunk import ChunkScores
from ernie.metrics.mrc import cmrc_scores, evaluate, load_predictions, load_truth, squad_scores
from propeller.errors import bad_input, one_line_errors

SCORES = {'cmrc': cmrc_scores, 'squad': squad_scores}
ROUNDING = 1e-9  # the same fractions, added up in another order


def iobes(labels):
    """Labels of IOB as labels of IOBES. The chunks are those that seqeval sees."""
    from seqeval.metrics.sequence_labeling import get_entities

    result = ['O'] * len(labels)
    for kind, first, last in get_entities(labels):
        inside = ['B', *'I' * (last - first - 1), 'E'] if last > first else ['S']
        result[first : last + 1] = [f'{prefix}-{kind}' for prefix in inside]
    return result


def chunk_scores(scheme, true, found):
    """Ours: {(type or average, score): value}. true, found: lists of lists of labels."""
    scores = ChunkScores(scheme)
    for labels, predictions in zip(true, found, strict=True):
        scores.add(labels, predictions)
    report = scores.report()
    rows = {row['name']: row for row in report['classes']}
    rows |= {name: report[name.replace(' ', '_')] for name in ('micro avg', 'macro avg', 'weighted avg')}
    return {(name, key): row[key] for name, row in rows.items() for key in ('precision', 'recall', 'f1', 'support')}


def seqeval_scores(true, found, **mode):
    """seqeval's, in the form of `chunk_scores`."""
    from seqeval.metrics import classification_report

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # a type that is never predicted
        rows = classification_report(true, found, output_dict=True, **mode)
    return {(name, key.removesuffix('-score')): value for name, row in rows.items() for key, value in row.items()}


def difference(ours, theirs):
    """(largest difference of two dicts of numbers, where it is); what only one of them has differs without end."""
    if only := ours.keys() ^ theirs.keys():
        return float('inf'), sorted(only, key=str)[0]
    return max(((abs(ours[key] - theirs[key]), key) for key in ours), default=(0.0, None), key=lambda pair: pair[0])


def verdict(what, ours, theirs):
    """Print whether two dicts of numbers are equal; returns whether they are."""
    largest, place = difference(ours, theirs)
    equal = largest <= ROUNDING
    print(f'{what}: {"equal" if equal else f"UNEQUAL at {place}"}, {len(ours)} numbers, difference {largest:.1e}')
    return equal


def compare_tagging(dev, predictions):
    """Print the comparison of a prediction file; returns whether all is equal."""
    from seqeval.scheme import IOBES

    true, found = labels_of(dev, predictions)
    ours = chunk_scores('IOB', true, found)
    micro = ', '.join(f'{key} {ours["micro avg", key]:.4f}' for key in ('f1', 'precision', 'recall'))
    print(f'{predictions}: {len(true)} sentences, {ours["micro avg", "support"]} chunks, {micro}')
    equal = verdict('  IOB, seqeval in its default mode', ours, seqeval_scores(true, found))
    true, found = [iobes(row) for row in true], [iobes(row) for row in found]
    theirs = seqeval_scores(true, found, mode='strict', scheme=IOBES)
    return verdict('  IOBES, seqeval in its strict mode', chunk_scores('IOBES', true, found), theirs) and equal


def compare_reading(truth, predictions):
    """Print the comparison of a file of answers; returns whether all is equal."""
    answers, found = load_truth(truth), load_predictions(predictions)
    with open(truth, encoding='utf-8') as f:
        questions = {key: texts for key, _, texts in published.questions_of(json.load(f))}
    for key, texts in questions.items():
        if key not in found:
            raise bad_input(predictions, f'no answer to question {key!r}', f'one to each question of {truth}')
        if not texts:
            raise bad_input(truth, f'question {key!r} without an answer', 'SQuAD 1.1 or CMRC, where each has one')
    print(f'{predictions}: {len(questions)} questions')
    equal = True
    for metric, score in SCORES.items():
        theirs = with_averages({key: published.ONCE[metric](texts, found[key]) for key, texts in questions.items()})
        ours = with_averages({key: score(texts, found[key]) for key, texts in answers.items()})
        ours |= {name: evaluate(metric, answers, found)[name] for name in ('em', 'f1')}
        equal &= verdict(f'  {metric}, EM {ours["em"]:.2f}, F1 {ours["f1"]:.2f}', ours, theirs)
    return equal


def with_averages(scores):
    """dict question -> (EM, F1), 0 ... 1, as a dict of numbers with `em` and `f1` of all, in percent."""
    numbers = {(key, name): pair[i] for key, pair in scores.items() for i, name in enumerate(('em', 'f1'))}
    averages = {n: 100 * sum(pair[i] for pair in scores.values()) / len(scores) for i, n in enumerate(('em', 'f1'))}
    return numbers | averages


def main(argv=None):
    """Compare and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kind', choices=('tagging', 'reading'))
    parser.add_argument('truth', help='the labelled file')
    parser.add_argument('predictions', nargs='+', help='files that the program wrote for it')
    args = parser.parse_args(argv)
    compare = {'tagging': compare_tagging, 'reading': compare_reading}[args.kind]
    equal = [compare(args.truth, path) for path in args.predictions]
    return int(not all(equal))


if __name__ == '__main__':
    with one_line_errors():
        sys.exit(main())
