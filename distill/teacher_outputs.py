"""Has a teacher answer the rows of files once, for distill_chnsentocorp.py --teacher_outputs. Goes on after a break."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import time
from dataclasses import MISSING, dataclass
from typing import Self

import numpy as np

from ernie.api import open_prediction
from ernie.distill.teacher_outputs import Maker
from ernie.distill.text_files import read_texts
from ernie.distill.unknown import UnknownKept
from ernie.inference.engines import ENGINES, PRECISIONS
from ernie.inference.find import find_model
from ernie.inference.folder import ModelFolder
from ernie.settings.base import Settings
from ernie.settings.fields import setting
from ernie.settings.flags import SettingsParser
from propeller.errors import UsageError, UserError, bad_input, one_line_errors
from propeller.inputs import content_digest, folder_digest
from propeller.log import console, get_logger
from propeller.progress import progress

log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class TeacherSettings(Settings, title='teacher'):
    """Has a fine-tuned classifier answer the rows of files; each file gets a folder of answers in --output."""

    teacher: str = setting(MISSING, 'Checkpoint, folder of a training, or export of a classifier.')
    input: tuple[str, ...] = setting(
        MISSING, 'Files of TAB-separated text without a header, as augment.py writes them.'
    )
    column: str = setting('2', "Number of the column of the teacher's text.")
    output: str = setting(MISSING, 'Folder of the answers.')
    engine: str = setting('', 'Engine; without it that of ernie predict.', choices=('', *ENGINES))
    precision: str = setting(
        '', 'Precision of the teacher; without it that of an export in int8, else fp32.', choices=('', *PRECISIONS)
    )
    batch_size: int = setting(32, 'Rows computed at once.', least=1)
    max_seq_len: int = setting(0, 'Tokens of the longest text; 0: as the teacher was trained.', least=0)

    def checked(self) -> Self:
        settings = super().checked()
        if not self.column.isdigit():
            raise UsageError(f'--column {self.column}: expected a number; rows are counted from the first line.')
        names = [os.path.basename(path) for path in self.input]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UsageError(f'--input: found two files of the name {min(twice)}; each has a folder of its name.')
        return settings


class Teacher:
    """A fine-tuned classifier. args: `TeacherSettings`. Raises `UserError`: it is none, or cannot be read."""

    def __init__(self, args):
        folder = find_model(args.teacher)
        source = ModelFolder(folder, max_seq_len=args.max_seq_len or None)
        kind = source.settings.get('kind', source.spec.name)
        if kind != 'classify':
            raise bad_input(folder, f'a model of the kind {kind}', 'a classifier: each text has one class')
        if source.codec.columns.required and 'text_b' in source.codec.columns.required:
            raise bad_input(folder, 'a classifier of pairs of texts', 'one of single texts')
        codec = source.codec
        source.codec = type(codec)(codec.config, UnknownKept(codec.tokenizer), codec.settings)
        self.labels = list(source.settings['labels'])
        self.identity = {
            'teacher': folder_digest(source.path),
            'engine': args.engine,
            'precision': args.precision or 'fp32',  # the digest of an export in int8 is another one anyway
            'max_seq_len': source.settings['max_seq_len'],
            'labels': self.labels,
        }
        self._open = lambda: open_prediction(
            source, args.engine or None, args.precision or None, batch_size=args.batch_size
        )
        self._prediction = None

    def probabilities(self, texts):
        """float32 [n, C] for a list of texts."""
        if self._prediction is None:  # only where something is left to be made
            self._prediction = self._open()
        results = self._prediction.predict([{'text_a': text} for text in texts])
        return np.array([[result['probabilities'][name] for name in self.labels] for result in results], np.float32)


def build_parser():
    """The flags."""
    return SettingsParser(TeacherSettings, 'teacher outputs', prog='teacher_outputs.py')


def main(argv=None):
    """Run with the flags in `argv` (default: those of the command line)."""
    args = build_parser().parse_args(argv).checked()
    teacher = Teacher(args)
    for path in args.input:
        if not os.path.isfile(path):
            raise UserError(f'{path}: found no regular file, expected one: its rows are counted twice.')
        identity = {**teacher.identity, 'file': content_digest(path), 'column': args.column}
        started = time.monotonic()
        with Maker(os.path.join(args.output, os.path.basename(path)), identity, len(teacher.labels)) as maker:
            texts = (row.text for row in progress(read_texts([path], args.column), 'teacher'))
            rows, made = maker.make(texts, teacher.probabilities)
        seconds = time.monotonic() - started
        log.info('%s: %d rows, %d of them answered now, in %.1f s: %s', path, rows, made, seconds, maker.folder)


if __name__ == '__main__':
    with one_line_errors(), console():
        main()
