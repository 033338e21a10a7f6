"""One fine-tuning run: initial values, training with evaluation and checkpoints, or evaluation alone."""

import os
import sys

from ernie.finetune.check import check_flags, take_saved_settings
from ernie.finetune.hooks import EvaluationHook, TrainingLogHook
from ernie.finetune.schedule import log_length, log_schedule_change, run_length
from ernie.metrics.curves import draw_curves
from ernie.run.initial_values import InitialValues
from ernie.run.memory import report_training
from ernie.run.outputs import CURVES_FILE, EVALUATION_FILE, METRICS_FILE, REPORTS, check_outputs
from ernie.run.precision import loss_scale
from ernie.run.session import session_of
from ernie.run.source import Source, build_tokenizer, check_same_vocabulary
from ernie.run.start import check_same_file, start_of
from ernie.utils.args import print_arguments, settings_lines
from propeller.data.batching import BatchStream
from propeller.data.prefetch import prefetch
from propeller.distribution import join, log_in_main_process_only, process_info
from propeller.inputs import content_digest
from propeller.log import get_logger
from propeller.train.checkpoint import (
    RUN,
    STATE,
    Checkpoints,
    can_continue,
    computation_state,
    read_state,
    restore_computation,
    save_checkpoint,
)
from propeller.train.hook_states import restore_states, states_of
from propeller.train.hooks import CheckpointSaverHook, StopAtStepHook, TqdmProgressBarHook
from propeller.train.loop import LoopState, train_loop
from propeller.train.model import build_model_spec
from propeller.train.record import EventWriter, MetricsFile, read_metrics
from propeller.train.run_folder import RunFolder
from propeller.types import RunMode

log = get_logger(__name__)

BEST = 'best'
PREFETCHED_BATCHES = 70


def fine_tune(args, task_class):
    """Do what the flags of a fine-tuning program ask for.

    Args:
        args: parsed by `ernie.finetune.flags`.
        task_class: subclass of `Task`.
    Raises:
        UserError: anything the user can mend.
    """
    log_in_main_process_only(process_info(os.environ))
    print_arguments(args, log)
    check_flags(args)
    check_outputs(args)
    world = join(args.use_cuda)
    if not args.do_train:
        FineTuning(args, task_class, world).evaluate_only()
        return
    with folder_of(args, world).held() as folder:
        FineTuning(args, task_class, world, folder).train()


def folder_of(args, world):
    """The `RunFolder` of the flags."""
    return RunFolder(Checkpoints(args.checkpoints, keep=args.max_checkpoints), world, beside=(BEST,))


class FineTuning:
    """Holds what training and evaluation share: session, model source, task, evaluator.

    In a job of several processes each of them holds all of it; the first one alone writes logs and files.
    """

    def __init__(self, args, task_class, world, folder=None):
        self.args, self.world = args, world
        self.folder = folder or folder_of(args, world)
        self.checkpoints = self.folder.checkpoints
        self.start_from = start_of(args, self.folder) if args.do_train else args.init_checkpoint
        if args.init_checkpoint and args.init_pretraining_params:
            log.warning('--init_pretraining_params is ignored: --init_checkpoint is set')
        path = self.start_from or args.init_pretraining_params
        self.source = Source(path, args.ernie_config_path, args.vocab_path)
        for line in settings_lines('Model Configuration', self.source.config.to_dict())[1:]:
            log.info(line)
        if self.start_from:
            take_saved_settings(args, self.source)
        if self._continues():
            check_same_vocabulary(self.source)
        tokenizer = build_tokenizer(args, self.source)
        saved = self.source.saved if self.start_from else {}
        self.task = task_class(args, self.source.config, tokenizer, self.source.vocab_path, saved)
        self.checkpoints.files = self.task.checkpoint_files()
        self.session = session_of(args, self._seed(), world)
        log.info('Device count: %d', 1)
        if world.size > 1:
            log.info('process %d of %d, %d of them on this machine', world.rank, world.size, world.local_size)
        if args.do_train:
            log.info('random seed: %d', self.session.seed)
        self.evaluator = self.task.evaluator_class(args, self.session, self.task, self._record, self._report_folder())
        self.evaluator.identity = self.checkpoints.run
        self.metrics = self.events = self.length = self.train_file = None

    def _seed(self):
        """The seed of the flags; when training continues and none is given, that of the earlier run."""
        if self.args.random_seed is None and self._continues():
            return read_state(self.start_from).get('seed')
        return self.args.random_seed

    def _continues(self):
        return bool(self.start_from and self.args.do_train and can_continue(self.start_from))

    def _report_folder(self):
        return os.path.join(self.args.checkpoints, REPORTS)

    def _record(self, phase, step, epoch, values):
        if not self.world.is_main_process:
            return
        self.metrics.append(phase, step, epoch, values)
        if self.events:
            tag = f'{phase}/{self.evaluator.names[values["file"]]}' if 'file' in values else phase
            self.events.add_scalars(values, step, f'{tag}/')

    def _open_records(self, step):
        if not self.world.is_main_process:
            return
        reports = [f'{REPORTS}/{name}{end}' for name in self.evaluator.names.values() for end in ('.json', '.txt')]
        self.folder.begin(step, [METRICS_FILE, CURVES_FILE, *reports])
        self.metrics = MetricsFile(os.path.join(self.args.checkpoints, METRICS_FILE), resume_step=step)
        if self.args.log_dir:
            self.events = EventWriter(self.args.log_dir, resume_step=step)

    def _close_records(self):
        if not self.world.is_main_process:
            return
        for file in filter(None, (self.metrics, self.events)):
            file.close()
        path = self.metrics.path
        draw_curves(read_metrics(path), os.path.join(self.args.checkpoints, CURVES_FILE), loss_unit=self.task.loss_unit)

    def load(self, program):
        """Give `program` its values. Returns (training state to continue from or None, updates done earlier)."""
        given = InitialValues(self.args, self.source, self.start_from, self._continues(), self.task.is_new)
        return given.load(self.session, program)

    # ------------------------------------------------------------ training

    def train(self):
        """Train, evaluate, save; at the end the best checkpoint, curves and predictions are on disk."""
        args, task = self.args, self.task
        with self.world.local_main_process_first():
            rows = task.read(args.train_set, labelled=True)
            task.prepare_training(rows)
            self.evaluator.read_sets()
        self.train_file = content_digest(args.train_set)
        self.checkpoints.files = task.checkpoint_files()
        stream = self._stream(rows)
        self.length = run_length(args, stream)
        log_length(args, self.length, len(rows))
        program = self.session.build(
            task.feeds(labelled=True),
            self._training_graph(),
            parts=args.gradient_accumulation_steps,
            loss_scale=loss_scale(args),
        )
        rows_of_batch = args.batch_size // args.max_seq_len if args.in_tokens else args.batch_size
        report_training(args, self.source.config, program, rows_of_batch, args.freeze_encoder)
        state, updates = self.load(program)
        if state:
            stream.seek(state.get('data_position'))
            check_same_file(args.train_set, self.train_file, state, self.start_from)
            log_schedule_change(self.start_from, state.get('schedule'), self.length)
        if updates >= self.length.steps:
            log.info('%s: all of the %d steps are done', self.start_from, self.length.steps)
        loop = LoopState(updates)
        self._open_records(loop.gstep)
        self.session.seed_dropout_by_rank()
        if state:
            restore_computation(self.session, program, state, self.start_from)
        with prefetch(stream, PREFETCHED_BATCHES) as batches:
            hooks = self._hooks(program, rows, batches, state)
            train_loop(self.session, program, batches, hooks, loop, _parts)
        self._close_records()
        if loop.interrupted:
            self._say_where(hooks[1])
            sys.exit(130)
        self.evaluator.diagnose()
        self._say_where(hooks[1])
        if args.enable_ce and self.world.is_main_process:
            print_kpis(hooks[0].points)

    def _training_graph(self):
        params = self.task.hparams(*self.length)
        return lambda *features: build_model_spec(self.task.model_class, features, RunMode.TRAIN, params, None)

    def _stream(self, rows):
        args = self.args
        return BatchStream(
            rows,
            lambda indices: self.task.arrays(rows, indices, labelled=True),
            args.batch_size,
            in_tokens=args.in_tokens,
            window=args.length_window if args.shuffle else 0,
            shuffle=args.shuffle,
            seed=self.session.seed,
            epochs=args.epoch,
            replica_id=self.world.rank,
            num_replicas=self.world.size,
            accumulation=args.gradient_accumulation_steps,
        )

    def _hooks(self, program, rows, batches, state):
        args = self.args
        training_log = TrainingLogHook(
            self.session, program, self.task, len(rows), args.skip_steps, args.verbose, batches.qsize, self._record
        )
        keep_best = lambda loop, value: self._save_best(program, loop, value)  # noqa: E731
        evaluate = training_log.outside(self.evaluator.run)
        evaluation = EvaluationHook(
            evaluate,
            args.validation_steps,
            training_log.outside(keep_best),
            args.early_stop,
            is_last=lambda loop: loop.gstep == self.length.steps,
            ended_early=self.evaluator.name_last,
        )

        def save(loop):
            state = self._state(program, loop, states_of(hooks))
            if self.world.is_main_process:
                self.checkpoints.save(self.session, program, state, self.evaluator.files())

        saver = CheckpointSaverHook(training_log.outside(save), args.save_steps)
        own = program.outputs.train_hooks or ()
        hooks = [training_log, evaluation, *own, saver, StopAtStepHook(self.length.steps)]
        if sys.stderr.isatty() and self.world.is_main_process:
            hooks.append(TqdmProgressBarHook(self.length.steps, 'training'))
        if state:
            restore_states(hooks, state.get('hooks', {}), os.path.join(self.start_from, STATE))
        return hooks

    def _state(self, program, loop, hook_states):
        return {
            **computation_state(self.session, program),
            'global_step': loop.gstep,
            'epoch': loop.batch.epoch,
            'data_position': loop.batch.position,
            'train_file': self.train_file,
            'schedule': self.length._asdict(),
            'hooks': hook_states,
        }

    def _save_best(self, program, loop, value):
        if not self.world.is_main_process:
            return
        folder = os.path.join(self.args.checkpoints, BEST)
        state = {'global_step': loop.gstep, 'epoch': loop.batch.epoch, 'value': value, RUN: self.checkpoints.run}
        files = {**self.checkpoints.files, **self.evaluator.files()}
        save_checkpoint(folder, self.session, program, state, files, weights_only=True)
        log.info('best so far: %f at step %d, saved to %s', value, loop.gstep, folder)

    def _say_where(self, evaluation):
        if not self.world.is_main_process:
            return
        folder = self.args.checkpoints
        if evaluation.best is not None:
            log.info(
                'best checkpoint: %s (step %d, %f)', os.path.join(folder, BEST), evaluation.best_step, evaluation.best
            )
        newest = self.checkpoints.newest()
        if newest:
            log.info('last checkpoint: %s', newest)
        log.info('metrics: %s, curves: %s', self.metrics.path, os.path.join(folder, CURVES_FILE))

    # ------------------------------------------------------------ evaluation alone

    def evaluate_only(self):
        """Score the dev sets and predict the test sets with --init_checkpoint."""
        with self.world.local_main_process_first():
            self.evaluator.read_sets()
        program = self.evaluator.any_program()
        self.load(program)
        path = os.path.join(self.start_from, STATE)
        state = read_state(self.start_from) if os.path.isfile(path) else {}
        epoch, step = state.get('epoch', 0), state.get('global_step', 0)
        if self.world.is_main_process:
            self.metrics = MetricsFile(os.path.join(self.args.checkpoints, EVALUATION_FILE))
        self.evaluator.run(epoch, step, last=True)
        self.evaluator.diagnose()
        if self.metrics:
            self.metrics.close()


def _parts(batch):
    return [(part.arrays, part.counted) for part in batch.parts]


def print_kpis(points):
    """The lines of continuous evaluation on stdout: values of the second-last log point."""
    cards = len(os.environ.get('CUDA_VISIBLE_DEVICES', '0').split(','))
    if len(points) < 2:
        print('ce info error')
        return
    print(f'kpis\ttrain_duration_card{cards}\t{points[-2]["seconds"]}')
    print(f'kpis\ttrain_loss_card{cards}\t{points[-2]["loss"]:f}')
    if 'acc' in points[-2]:
        print(f'kpis\ttrain_acc_card{cards}\t{points[-2]["acc"]:f}')
