"""The programs that compute: each reads its flags, and then imports what does the work.

A top-level program of 2019 and a verb of the command `ernie` are two names of one `Program`.
"""

import dataclasses
import importlib
import operator
import os
from collections.abc import Callable
from types import SimpleNamespace

from ernie.tasks import table


def imported(place):
    """The object at 'module:name' (or 'module:name.attribute'), whose module is imported now."""
    module, _, names = place.partition(':')
    return operator.attrgetter(names)(importlib.import_module(module))


@dataclasses.dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        file: its file of 2019, which stands in the usage line.
        parser: 'module:name' of the function that makes the parser, called with the name for the usage line.
        run: called with the parsed flags.
    """

    file: str
    parser: str
    run: Callable

    def build_parser(self, prog=None):
        """The flags, as an `argparse` parser. prog: the name of the program in the usage line."""
        return imported(self.parser)(prog)

    def main(self, argv=None, prog=None):
        """Run with the flags in `argv` (default: those of the command line). prog: as for `build_parser`.

        Raises:
            UserError: anything that the user can mend.
        """
        args = self.build_parser(prog or self.file).parse_args(argv)
        if args.cpu_threads:
            os.environ['OMP_NUM_THREADS'] = str(args.cpu_threads)  # Paddle reads it when it is loaded
        self.run(args)


def _fine_tuning(spec):
    def run(args):
        training = spec.load('training')
        imported('ernie.finetune.trainer:fine_tune')(training.prepare_flags(args), training)

    return Program(spec.program, 'ernie.finetune.flags:build_parser', run)


def _call(place):
    return lambda args: imported(place)(args)


_INFER = _call('ernie.inference.program:infer')

FINETUNE = SimpleNamespace(**{spec.verb: _fine_tuning(spec) for spec in table.specs()})
CLASSIFY, TAG, READ = FINETUNE.classify, FINETUNE.tag, FINETUNE.read
PRETRAIN = Program('train.py', 'ernie.pretrain.flags:build_parser', _call('ernie.pretrain.trainer:pretrain'))
ENCODE = Program(
    'ernie_encoder.py', 'ernie.inference.embedding_flags:build_parser', _call('ernie.inference.embedding:encode_file')
)
INFER = Program('infer_classifyer.py', 'ernie.inference.flags:build_parser', _INFER)
# The two halves of that program, as verbs of their own.
PREDICT = Program('', 'ernie.inference.flags:build_predict_parser', _INFER)
EXPORT = Program('', 'ernie.inference.flags:build_export_parser', _INFER)
