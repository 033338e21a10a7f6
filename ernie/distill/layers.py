"""`ernie distill`: a training of a student that learns from a teacher in the same program."""

import os
import shlex

from ernie.checkpoint.strict import match_parameters
from ernie.distill.layer_tasks import RECORD, TextTask, task_of_student
from ernie.distill.measured import comparison
from ernie.distill.plan import Plan
from ernie.distill.teacher import Teacher, renamed
from ernie.distill.terms import LABELS
from ernie.finetune.check import take_saved_settings
from ernie.finetune.outcome import Finetuned
from ernie.finetune.own_data import with_folder, with_split
from ernie.finetune.trainer import FineTuning, fine_tune
from ernie.inference.find import find_model
from ernie.reader.columns import ColumnNames
from ernie.reader.dataset_folder import is_regular
from ernie.run.blocks import clock
from ernie.run.device import with_device
from ernie.run.machine import size_text
from ernie.run.resume import ernie_words, resume_command
from ernie.settings.fields import AUTO
from ernie.settings.finetune import FinetuneSettings
from ernie.survey.form import task_of
from propeller.distribution import log_in_main_process_only, process_info
from propeller.errors import UsageError, bad_input
from propeller.log import get_logger
from propeller.storage.values import load_values

log = get_logger(__name__)

PLAIN = 'plain'  # folder of the student without distillation, in that of the run
_MOST_TOKENS = FinetuneSettings.__dataclass_fields__['max_seq_len'].default


def distill(args):
    """Do what `ernie distill FILE` asks for.

    Args:
        args: `DistillSettings`.
    Returns:
        `Finetuned`; None in the other processes of a job.
    Raises:
        UserError: anything the user can mend.
        Interrupted: Ctrl-C or SIGTERM came, and the last update is saved.
    """
    args = with_split(args).checked()
    log_in_main_process_only(process_info(os.environ))
    teacher = Teacher(args.teacher)
    plan = Plan(args, teacher)
    base = _base_task(args, plan)
    args = with_folder(with_device(_with_start(args, plan)), '-student')
    args = args.replace(do_test=args.do_test and bool(args.test_set))
    found, run = _train(args, base, plan)
    plain = args.plain
    if args.with_plain:
        plain = os.path.join(args.checkpoints, PLAIN)
        log.info('now the student without distillation: %s', plain)
        changes = {'loss': LABELS, 'checkpoints': plain, 'temperature': 1.0, 'with_plain': False, 'do_test': False}
        changes |= dict.fromkeys(('layer_pairs', 'relation_heads', 'projection'))
        without = args.replace(**changes)
        _train(without, base, Plan(without, teacher))
    if found and not plan.terms.of_layers_alone:
        comparison(run, teacher, found.best or found.last, plain)
    return found


def _train(args, base, plan):
    """One training. Returns (`Finetuned` or None, the `Distillation`)."""
    made = []

    def make(*given):
        made.append(Distillation(*given, plan=plan))
        return made[0]

    found: Finetuned | None = fine_tune(args, task_of_student(base, plan), own_data=True, kind=make)
    return found, made[0]


def _base_task(args, plan):
    """The class of the task that reads the rows. Raises `UserError`: the file is for another task than the teacher."""
    spec, path = plan.teacher.spec, args.train_set
    of_file = task_of(path, ColumnNames.of(args)) if is_regular(path) else spec and spec.name
    if plan.terms.of_layers_alone and of_file in (None, 'classification'):
        plan.of_texts = True
        return TextTask
    if spec is None or spec.name != of_file:
        advice = 'Layers alone (--loss relation) can be learnt from lines of text, too.'
        theirs = f'of the task {spec.name}' if spec else 'without a task'
        raise bad_input(
            path, f'a file for the task {of_file}', f'one for the teacher {plan.teacher.path}, {theirs}', advice=advice
        )
    return spec.load('training')


def _with_start(args, plan):
    """The settings with the folders of the teacher and of the model that the student begins as."""
    args = args.replace(teacher=plan.teacher.path)
    if args.ernie_config_path:
        return args.replace(vocab_path=args.vocab_path or plan.teacher.source.vocab_path)
    name = args.model or args.init_pretraining_params
    path = find_model(name) if name else plan.teacher.path
    if args.with_plain and os.path.exists(os.path.join(path, RECORD)):
        raise UsageError(f'--with_plain true: {path} is a student already. Train one without distillation from where '
                         'it began (--loss labels), and give --plain RUN.')  # fmt: skip
    layers = ','.join(map(str, plan.layers)) or None
    return args.replace(model=None, init_pretraining_params=path, student_layers=layers)


class Distillation(FineTuning):
    """One training of a student. plan: `Plan`; for the others see `FineTuning`."""

    program_name = 'distill'

    def __init__(self, *given, plan):
        self.plan = plan
        super().__init__(*given)

    def open_source(self, args, start, texts):
        source = super().open_source(args, start, texts)
        if not start:
            self.plan.check_start(source)
            self.plan.take_layers(source)
        self.plan.fit(source)
        if start:
            self.plan.check_checkpoint(start)
        return source

    def with_saved_settings(self, args, start):
        """Those of the teacher: the student does the same task, and reads as much."""
        args = take_saved_settings(args, self.plan.teacher.source)
        if args.max_seq_len == AUTO and self.plan.terms.of_layers_alone:
            of_both = (c.max_position_embeddings for c in (self.source.config, self.plan.teacher.config))
            args = args.replace(max_seq_len=min(_MOST_TOKENS, *of_both))
        return args

    def saved(self, start):
        saved = self.plan.teacher.saved
        return {name: saved[name] for name in saved if name == 'column_names'} if self.plan.of_texts else saved

    def build(self, length, scale=None):
        program = super().build(length, scale)
        spec = program.outputs
        program.outputs = spec._replace(predictions=[*spec.predictions, *self.plan.losses])
        return program

    def load(self, program):
        done = super().load(program)
        self.plan.teacher.load(self.session, program)
        if not self.run.start:
            self._take_head(program)
        return done

    def _take_head(self, program):
        """A head that the model does not have is that of the teacher, where it fits."""
        ours, theirs = self.source.tensors or (), self.plan.teacher.source.tensors
        new = {n: s for n, s in program.parameters().items() if self.task.is_new(n)}
        new = {n: s for n, s in new.items() if n not in ours or tuple(ours.shape(n)) != tuple(s)}
        fitting = [name for name, shape in new.items() if name in theirs and tuple(theirs.shape(name)) == shape]
        if fitting:
            match_parameters({name: new[name] for name in fitting}, theirs, allow_unused=['*'])
            load_values(self.session, fitting, renamed(theirs, {name: name for name in fitting}))
            log.debug('from the teacher: %s', ', '.join(fitting))

    def start_pairs(self, rows, program, step):
        return [*super().start_pairs(rows, program, step), *self.plan.describe()]

    def end_pairs(self, seconds):
        if not self.plan.terms.of_layers_alone:
            return super().end_pairs(seconds)
        training, args = self.run, self.args
        newest = training.best or training.checkpoints.newest()
        if training.loop.interrupted:
            again = resume_command(args, self.world)
            return [('interrupted', f'at step {training.loop.gstep}'), ('to resume', (again,))]
        loss = f', loss on the dev set {-training.evaluation.best:.4f}' if training.best else ''
        words = [*ernie_words(), 'distill', 'LABELLED_FILE', '--teacher', args.teacher, '--model', newest]
        return [
            ('done', f'{training.loop.gstep:,} steps in {clock(seconds)}{loss}'),
            ('checkpoint', (f'{newest} ({size_text(newest)}), an encoder without a task',)),
            ('next', (shlex.join(words),)),
        ]

    def best_files(self):
        return {} if self.plan.terms.of_layers_alone else super().best_files()
