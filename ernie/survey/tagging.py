"""The survey of a file of sentences whose tokens have labels."""

import os
from collections import Counter

from ernie.decoding.scheme import OUTSIDE, SCHEMES, split_label
from ernie.reader.columnar import classes_of
from ernie.reader.columns import ColumnNames
from ernie.reader.rows import BadRows
from ernie.reader.sentences import Sentences
from ernie.reader.warnings import Notes
from ernie.survey.survey import Sample, Survey
from propeller.errors import bad_input

_MOST = 10_000  # different labels: there are no such files


def survey_sentences(path, args):
    """The `Survey` of a tagging file. Arguments and errors as for `survey_table`."""
    path = os.fspath(path)
    counts, sample, columns = Counter(), Sample(), {}

    def noting(records, naming):
        for record in records:
            columns.update(naming.found)
            yield record

    bad_rows = BadRows(path) if args.skip_bad_rows else None
    for row in Sentences(True, columns=ColumnNames.of(args)).of(path, bad_rows, Notes(path, []), noting):
        counts.update(row.labels)
        sample.add(tuple(row.tokens), ' '.join(row.labels))
        if len(counts) > _MOST:
            raise bad_input(path, f'more than {_MOST} different labels', 'labels of tokens such as B-PER and O')
    if not sum(counts.values()):
        raise bad_input(path, 'no label', 'a label for each token')
    # 2019's maps have O last.
    known = classes_of(path, columns.get('label'))
    names = sorted({*counts, *known}, key=lambda name: (name == OUTSIDE, name))
    scheme = args.chunk_scheme if args.gave('chunk_scheme') else scheme_of(names)
    return Survey(
        path,
        'sequence_labeling',
        None,
        sample.count,
        {name: counts[name] for name in names},
        {name: i for i, name in enumerate(names)},
        len(names),
        columns=columns,
        first=[(' '.join(tokens[:-1]), tokens[-1]) for tokens in sample.first],
        sample=sample.kept,
        scheme=scheme,
    )


def scheme_of(names):
    """The chunk scheme that knows the prefixes of labels: IOB where that is one, else IOBES, IOE or IO.

    None of them may: what is wrong is said where the labels are used.
    """
    prefixes = {split_label(name)[0] for name in names if name != OUTSIDE}
    fitting = [name for name in ('IOB', 'IOE', 'IOBES') if prefixes <= set(SCHEMES[name].prefixes)]
    if prefixes == {'I'}:
        return 'IOB'
    return fitting[0] if fitting else 'IOB'
