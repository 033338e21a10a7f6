"""Files of a data set in the columns of this suite: TSV with a header line, or JSON of SQuAD."""

import contextlib
import copy
import json
import os

from ernie.zoo.data_sets.entries import PAIR, REGRESSION, TAG
from ernie.zoo.data_sets.layouts import Document
from ernie.zoo.data_sets.members import members
from propeller.errors import bad_input, quoted

SEPARATOR = '\x02'  # between the tokens of a row, and between their labels


def convert(data_set, part, places, folder, max_bytes):
    """Make the splits of a part.

    Args:
        data_set, part: `DataSet`, and the `Part` of it.
        places: `Path`s of what it is made of: archives, folders, files.
        folder: where the files of the splits are made.
        max_bytes: limit for what an archive decompresses to.
    Returns:
        dict split -> number of its rows, or questions. What no file was found for is not in it.
    Raises:
        UserError: one of them cannot be read, is damaged or hostile, or has a row that cannot be; file and line named.
    """
    layout = copy.deepcopy(part.layout)  # one may remember what it has read
    made, sources = {}, {}
    with contextlib.ExitStack() as stack:
        for place in places:
            for member in members(place, layout.wants, max_bytes):
                for split, row in layout.read(member):
                    if split not in made:
                        path = os.path.join(folder, split + layout.ending)
                        made[split] = stack.enter_context(_Output(path, data_set, layout.sort))
                    if not row_has_own_file(row) and sources.setdefault(split, member.place) != member.place:
                        raise bad_input(member.place, f'a second file of the split {split}', sources[split])
                    made[split].add(row)
    return {split: made[split].count for split in part.layout.splits if split in made}


def row_has_own_file(row):
    """Whether a row is a file of its own, so that a split has many files."""
    return not isinstance(row, Document) and bool(row.order)


class _Output:
    """The file of a split."""

    def __init__(self, path, data_set, sort):
        self.path, self.data_set, self.sort = path, data_set, sort
        self.count, self.columns, self.rows = 0, (), []

    def __enter__(self):
        self.file = open(self.path, 'wb')
        return self

    def __exit__(self, *error):
        with self.file:
            for _, line in sorted(self.rows) if error[0] is None else ():
                self.file.write(line)

    def add(self, row):
        """Writes a `Row` or a `Document`."""
        if isinstance(row, Document):
            self.file.write(row.content)
            self.count += row.count
            return
        if not self.columns:
            self.columns = _columns(row.cells)
            self.file.write(self._line(self.columns))
        check_row(self.data_set, row)
        line = self._line([row.cells[name] for name in self.columns])
        if self.sort:
            self.rows.append((row.order, line))
        else:
            self.file.write(line)
        self.count += 1

    @staticmethod
    def _line(cells):
        return '\t'.join(cell.replace('\t', ' ') for cell in cells).encode() + b'\n'


def _columns(cells):
    """The columns in the order of 2019's files: the label first where there is one text."""
    if 'label' in cells and 'text_b' not in cells and SEPARATOR not in cells['label']:
        return ('label', 'text_a')
    return tuple(name for name in ('text_a', 'text_b', 'label') if name in cells)


def check_row(data_set, row):
    """Raises `UserError`: a row has a label that there is not, or not one for each token."""
    label = row.cells.get('label')
    if label is None:
        return
    if data_set.task == REGRESSION:
        with contextlib.suppress(ValueError):
            float(label)
            return
        raise bad_input(row.place, f'the label {quoted(label)}', 'a number', row.line)
    labels = label.split(SEPARATOR) if data_set.task == TAG else [label]
    for one in labels:
        if data_set.labels and one not in data_set.labels:
            expected = f'one of {", ".join(data_set.labels)}'
            raise bad_input(row.place, f'the label {quoted(one)}', expected, row.line)
    tokens = row.cells['text_a'].split(SEPARATOR)
    if data_set.task == TAG and len(tokens) != len(labels):
        raise bad_input(row.place, f'{len(tokens)} tokens and {len(labels)} labels', 'a label for each', row.line)


def read_examples(path, data_set):
    """Iterate over the rows of a file that `convert` has made, as dict column -> text.

    Args:
        path: of a TSV file.
        data_set: its `DataSet`.
    """
    expected = f'a file of {data_set.name} as ernie download makes it'
    with open(path, encoding='utf-8', newline='\n') as file:
        columns = file.readline().rstrip('\n').split('\t')
        for line, text in enumerate(file, start=2):
            cells = text.rstrip('\n').split('\t')
            if len(cells) != len(columns):
                raise bad_input(path, f'{len(cells)} cells', f'{len(columns)}: {expected}', line)
            yield dict(zip(columns, cells, strict=True))


def write_label_map(folder, data_set):
    """Writes `label_map.json` for --label_map_config: a JSON object, label -> id. Nothing where there are none."""
    if data_set.labels:
        with open(os.path.join(folder, 'label_map.json'), 'w', encoding='utf-8') as file:
            json.dump({label: i for i, label in enumerate(data_set.labels)}, file, ensure_ascii=False, indent=1)


def is_pair(data_set):
    """Whether its rows have two texts."""
    return data_set.task in (PAIR, REGRESSION)
