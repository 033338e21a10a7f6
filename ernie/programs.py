"""The programs that compute: each reads its flags, and then imports what does the work.

A top-level program of 2019 and a verb of the command `ernie` are two names of one `Program`.
"""

import dataclasses
import os
from collections.abc import Callable
from pkgutil import resolve_name
from types import SimpleNamespace

from ernie.tasks import table
from propeller.log import console


@dataclasses.dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        file: its file of 2019, which stands in the usage line.
        name: what a run.yaml calls it; None: any.
        settings: 'module:name' of its settings class, imported when it is asked for.
        run: called with the settings.
    """

    file: str
    name: str | None
    settings: str
    run: Callable

    def build_parser(self, prog=None):
        """The flags, as an `argparse` parser. prog: the name of the program in the usage line."""
        parser = resolve_name('ernie.settings.flags:SettingsParser')
        return parser(resolve_name(self.settings), self.name, prog=prog)

    def main(self, argv=None, prog=None):
        """Run with the flags in `argv` (default: those of the command line). prog: as for `build_parser`.

        Raises:
            UserError: anything that the user can mend.
        """
        self.start(self.build_parser(prog or self.file).parse_args(argv))

    def start(self, settings):
        """Run with settings, an object of the class; returns what `run` returns."""
        if settings.cpu_threads:
            os.environ['OMP_NUM_THREADS'] = str(settings.cpu_threads)  # Paddle reads it when it is loaded
        with console(settings.console_level):
            return self.run(settings)


def fine_tuning(spec):
    """The `Program` of a task. spec: `TaskSpec`."""

    def run(settings):
        return resolve_name('ernie.finetune.trainer:fine_tune')(settings, spec.load('training'))

    return Program(spec.program, f'finetune {spec.name}', 'ernie.settings.finetune:FinetuneSettings', run)


def own_data(task=None):
    """The `Program` of a file of one's own. task: a name of `table.TASKS`; None: found out."""

    def run(settings):
        return resolve_name('ernie.finetune.own_data:fine_tune_file')(settings, task)

    program = f'finetune {task}' if task else None
    return Program('', program, 'ernie.settings.finetune:OwnDataSettings', run)


def _program(file, name, settings, run):
    return Program(file, name, f'ernie.settings.{settings}', run)


def _call(place):
    return lambda settings: resolve_name(place)(settings)


_INFER = _call('ernie.inference.program:infer')

FINETUNE = SimpleNamespace(**{spec.verb: fine_tuning(spec) for spec in table.specs()})
CLASSIFY, TAG, READ = FINETUNE.classify, FINETUNE.tag, FINETUNE.read
OWN_DATA = own_data()
OWN_DATA_AS = SimpleNamespace(**{spec.verb: own_data(spec.name) for spec in table.specs()})
DISTILL = _program('', 'distill', 'distill:DistillSettings', _call('ernie.distill.layers:distill'))
PRETRAIN = _program('train.py', 'pretrain', 'pretrain:PretrainSettings', _call('ernie.pretrain.trainer:pretrain'))
PRETRAIN_ELMO = _program('', 'pretrain elmo', 'elmo:ElmoSettings', _call('ernie.pretrain.elmo:pretrain_elmo'))
ENCODE = _program(
    'ernie_encoder.py', 'encode', 'predict:EncodeSettings', _call('ernie.inference.embedding:encode_file')
)
INFER = _program('infer_classifyer.py', 'predict', 'predict:PredictSettings', _INFER)
# The two halves of that program, as verbs of their own.
PREDICT = _program('', 'predict', 'predict:PredictVerbSettings', _call('ernie.inference.verb:predict'))
EXPORT = _program('', 'export', 'predict:ExportSettings', _call('ernie.inference.program:export_model'))
SERVE = _program('', 'serve', 'serve:ServeSettings', _call('ernie.service.verb:serve_models'))
