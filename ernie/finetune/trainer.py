"""One fine-tuning run: training with evaluation and checkpoints, or evaluation alone."""

import os
import time

from ernie.finetune import overview
from ernie.finetune.boost import prepare_encoder
from ernie.finetune.check import check_layers, check_of_texts, take_saved_settings, warn_of_other_settings
from ernie.finetune.data_check import check_data
from ernie.finetune.epochs import EpochReports
from ernie.finetune.found_out import find_out, training_texts
from ernie.finetune.log import TrainingLogHook
from ernie.finetune.numbers import held_share
from ernie.finetune.outcome import Finetuned, parts_of, print_kpis
from ernie.finetune.schedule import log_length, log_schedule_change, recorded_facts, run_length
from ernie.finetune.tries import search
from ernie.reader.dataset_folder import data_digest
from ernie.reader.warnings import columns_shown_elsewhere
from ernie.report.facts import run_facts
from ernie.report.names import CURVES, FILES, REPORTS, names_of_set, names_of_training
from ernie.report.writing import (
    card_of_best,
    earlier_seconds,
    renew_training_report,
    write_evaluation_report,
    write_training_report,
)
from ernie.run.blocks import show
from ernie.run.device import with_device
from ernie.run.evaluation import SCORES_FILE, held_name
from ernie.run.initial_values import InitialValues
from ernie.run.memory import report_training
from ernie.run.origin import origin_files, origin_line
from ernie.run.outputs import EVALUATION_FILE, check_outputs
from ernie.run.session import session_of
from ernie.run.source import Source, build_tokenizer, check_same_vocabulary
from ernie.run.start import check_same_file, check_same_share, folder_of, start_of
from ernie.settings import run_yaml
from propeller.args import print_arguments, settings_lines
from propeller.data.batching import BatchStream
from propeller.distribution import join, log_in_main_process_only, process_info
from propeller.errors import Interrupted
from propeller.inputs import read_json_object
from propeller.log import RUN_LOG, get_logger, keep_log
from propeller.train.checkpoint import STATE, read_state
from propeller.train.hooks import EvaluationHook
from propeller.train.model import build_model_spec
from propeller.train.record import METRICS_FILE
from propeller.train.run import TrainingRun
from propeller.types import RunMode

log = get_logger(__name__)

PREFETCHED_BATCHES = 70
_LINES = 10  # at most that say how a run of `ernie finetune` goes
_LEAST_INTERVAL = 20  # steps between two of them


def fine_tune(args, task_class, survey=None, own_data=False, kind=None):
    """Do what the flags of a fine-tuning program ask for.

    Args:
        args: `FinetuneSettings`.
        task_class: subclass of `Task`.
        survey: `Survey` of the training file; None: one is made where something must be found out.
        own_data: whether `ernie finetune` is meant, which says less often how it goes, not a program of 2019.
        kind: what makes the run, with the arguments of `FineTuning`; None: that class.
    Returns:
        `Finetuned`; None in the other processes of a job, which write no files.
    Raises:
        UserError: anything the user can mend.
        Interrupted: Ctrl-C or SIGTERM came, and the last update is saved.
    """
    log_in_main_process_only(process_info(os.environ))
    kind = kind or FineTuning
    args = task_class.prepare_flags(args)
    check_of_texts(args, task_class.spec)
    given, args = args, args.checked()
    check_outputs(args)
    print_arguments(given, log)
    args = with_device(args).checked()
    world = join(args.use_cuda)
    if args.tries:
        best, scores, metrics = search(args, task_class.spec, world)
        return Finetuned(best, None, scores, metrics, renew_training_report(args.checkpoints))
    if not args.do_train:
        return kind(args, task_class, world).evaluate_only()
    run_yaml.check_place(args.checkpoints)
    with folder_of(args, world, lean=True).held() as folder:
        return kind(args, task_class, world, folder, survey, own_data).train()


class FineTuning:
    """Holds what training and evaluation share: the run, session, source of the model, task, evaluator.

    In a job of several processes each of them holds all of it; the main process alone writes logs and files.
    """

    def __init__(self, args, task_class, world, folder=None, survey=None, own_data=False):
        self.world, self.own_data, self.length, self.page = world, own_data, None, None
        folder = folder or folder_of(args, world, lean=True)
        start = start_of(args, folder) if args.do_train else args.init_checkpoint
        self.run = TrainingRun(folder, start, resume=args.do_train)
        if args.init_checkpoint and args.init_pretraining_params:
            log.warning('--init_pretraining_params is ignored: --init_checkpoint is set')
        self.source = self.open_source(args, start, training_texts(args, task_class.spec, survey))
        for line in settings_lines('Model Configuration', self.source.config.to_dict())[1:]:
            log.debug(line)
        args = self.with_saved_settings(args, start)
        if self.run.resumes:
            check_same_vocabulary(self.source)
        tokenizer, args = build_tokenizer(args, self.source, task_class.spec.by_characters)
        saved = self.saved(start)
        found = find_out(args, task_class.spec, self.source, tokenizer, saved, survey, self.run, world)
        args, self.survey, self.coverage, self.chosen = found
        if args.keep_layers and not start and self.source.path:
            self.source.keep_layers(args.keep_layers)
        labels = [self.survey.labels_found()] if self.survey else []
        self.task = task_class(args, self.source.config, tokenizer, saved, *labels)
        args = self.task.args
        seed = self.run.state.get('seed') if args.random_seed is None else args.random_seed
        self.session = session_of(args, seed, world)
        self.args = args = args.replace(precision=self.session.precision, random_seed=self.session.seed)
        log.debug('Device count: %d', 1)
        if world.size > 1:
            log.debug('process %d of %d, %d of them on this machine', world.rank, world.size, world.local_size)
        if args.do_train:
            log.debug('random seed: %d', self.session.seed)
        reports = os.path.join(args.checkpoints, REPORTS)
        self.evaluator = self.task.evaluator_class(args, self.session, self.task, self.run.record, reports)
        self.evaluator.identity = folder.checkpoints.run

    def open_source(self, args, start, texts):
        """The `Source` of the model. start: checkpoint that the run starts from, or None. texts: see `Source`."""
        files = args.ernie_config_path, args.vocab_path
        return Source(start or args.init_pretraining_params, *files, texts, args.subword)

    def with_saved_settings(self, args, start):
        """The settings with those of the checkpoint that the run starts from."""
        if start:
            check_layers(args, self.source)
            args = take_saved_settings(args, self.source)
        return args

    def saved(self, start):
        """The `labels.json` that holds for the task: dict, {} if none does."""
        return self.source.saved if start else {}

    @property
    def program_name(self):
        """What run.yaml calls the program."""
        return f'finetune {self.task.spec.name}'

    def load(self, program):
        """Give `program` its values. Returns the number of updates done by earlier runs."""
        values = InitialValues(self.args, self.source, self.run, self.task.is_new, self.task.other_head)
        return values.load(self.session, program)

    # ------------------------------------------------------------ training

    def train(self):
        """Train, evaluate, save; at the end the best checkpoint, curves and predictions are on disk."""
        args, run = self.args, self.run
        if run.resumes:
            check_same_share(held_share(args), run.state, run.start)
        rows = self._read_sets()
        train_file, stream = data_digest(args.train_set), self.stream(rows)
        self.length = length = run_length(args, stream)
        log_length(args, length, len(rows))
        prepare_encoder(args, self.session, self.task, run)
        program = self.build(length, args.loss_scale())
        rows_of_batch = args.batch_size // args.max_seq_len if args.in_tokens else args.batch_size
        report_training(args, self.source.config, program, rows_of_batch, args.freeze_encoder)
        step = self.load(program)
        if run.resumes:
            run.seek(stream)
            check_same_file(args.train_set, train_file, run.state, run.start)
            warn_of_other_settings(args, run.start)
            log_schedule_change(run.start, run.state.get('schedule'), length)
        if step >= length.steps:
            log.info('%s: all of the %d steps are done', run.start, length.steps)
        self._begin(rows, program, step)
        if args.boost:
            self.task.boost.compute_all(rows, self.evaluator.all_sets())
        training_log = self.log_hook(program, rows, length.steps)
        self.epochs = EpochReports(training_log.totals, self.evaluator, run.draw, self.world, len(rows), args.epoch)
        run.train(
            stream,
            [training_log, *(program.outputs.train_hooks or ())],
            facts=recorded_facts(args, self.task, length, train_file),
            save_steps=args.save_steps,
            evaluation=self._evaluation(length.steps),
            files=self.evaluator.files,
            best_files=self.best_files,
            after_best=self._keep,
            last_step=length.steps,
            title='training',
            parts_of=parts_of,
            prefetched=PREFETCHED_BATCHES,
        )
        return self._finish(training_log.points)

    def _read_sets(self):
        """Read all files, and say what is odd about them. Returns the rows to train on."""
        args, task = self.args, self.task
        with self.world.local_main_process_first():
            with columns_shown_elsewhere():  # in the block
                rows = self._training_rows()
            task.prepare_training(rows)
            self.evaluator.read_sets()
            model = args.init_checkpoint or args.init_pretraining_params
            check_data(self.survey, self.coverage, model, rows, self.evaluator.scored_sets())
        self.run.checkpoints.files = {**task.checkpoint_files(), **origin_files(self.source.origin)}
        return rows

    def _begin(self, rows, program, step):
        """What is written and shown before the first update. step: updates done by earlier runs."""
        args, run = self.args, self.run
        reports = [file for name in self.evaluator.names.values() for file in names_of_set(name)]
        reports += names_of_training()
        self.started = time.monotonic() - (earlier_seconds(args.checkpoints) if run.resumes else 0)
        run.begin(self.session, program, step, [METRICS_FILE, run_yaml.FILE, RUN_LOG, *FILES, *reports])
        self.facts = run_facts(args, self.task, self.source, rows, self.evaluator.scored_sets(), self.survey)
        if self.world.is_main_process:
            keep_log(os.path.join(args.checkpoints, RUN_LOG))
            run_yaml.write_settings(args.checkpoints, args, self.program_name, [origin_line(self.source)])
        run.open_records(log_dir=args.log_dir)
        if self.world.is_main_process:
            show(self.start_pairs(rows, program, step))

    def start_pairs(self, rows, program, step):
        """What the console shows before the first update: see `overview.start_pairs`."""
        return overview.start_pairs(self, rows, program, self.length, step)

    def end_pairs(self, seconds):
        """What it shows after the last one: see `overview.end_pairs`."""
        return overview.end_pairs(self, seconds)

    def best_files(self):
        """dict file name -> bytes, what the best checkpoint has beside the files of all."""
        return card_of_best(self.args.checkpoints, self.facts, self.args.recorded(), self.evaluator)

    def _training_rows(self):
        """The rows to train on; those that are held out become the evaluator's."""
        args, share = self.args, held_share(self.args)
        if not share:
            return self.task.read(args.train_set, labelled=True)
        rows, held = self.task.read_divided(args.train_set, share)
        self.evaluator.held_out = held_name(args.train_set), held
        return rows

    def stream(self, rows):
        """The `BatchStream` of training rows."""
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

    def build(self, length, scale=None):
        """The training program. length: `RunLength`. scale: `LossScale` or None."""
        params = self.task.hparams(*length)
        return self.session.build(
            self.task.feeds(labelled=True),
            lambda *features: build_model_spec(self.task.model_class, features, RunMode.TRAIN, params, None),
            parts=self.args.gradient_accumulation_steps,
            loss_scale=scale,
        )

    def log_hook(self, program, rows, steps):
        """The `TrainingLogHook` of the flags. steps: of the whole run."""
        run, interval = self.run, self.args.skip_steps
        if self.own_data and not self.args.gave('skip_steps'):
            interval = max(interval, self.interval(steps))
        return TrainingLogHook(
            *(self.session, program, self.task, len(rows), interval, run.queue_size, run.record, steps),
            is_shown=not run.shows_bar(),
        )

    @staticmethod
    def interval(steps):
        """Steps between the lines of `ernie finetune`. steps: of the whole run."""
        return max(_LEAST_INTERVAL, -(-steps // _LINES))

    def _evaluation(self, last_step):
        if self.own_data and not self.args.gave('validation_steps'):
            self.evaluator.shown_every = self.interval(last_step)
        return EvaluationHook(
            self._evaluate,
            self.args.validation_steps,
            also_after=_ends_epoch,
            last_step=last_step,
            ended_early=self.evaluator.name_last,
            keep_best=True,
            patience=self.args.early_stop,
            measure=self.evaluator.measure(),
            tie=self.evaluator.main_loss,
        )

    def _evaluate(self, loop, last):
        value = self.evaluator.run(loop.batch.epoch, loop.gstep, last)
        self.epochs.tell(loop.gstep, last or _ends_epoch(loop))
        return value

    def _keep(self):
        self.evaluator.keep()
        self.epochs.keep()

    def _finish(self, points):
        """What follows the last update; returns what `fine_tune` does. points: of the `TrainingLogHook`."""
        interrupted, folder = self.run.loop.interrupted, self.args.checkpoints
        metrics = os.path.join(folder, METRICS_FILE)
        if self.world.is_main_process:
            facts = {**self.facts, 'seconds': round(time.monotonic() - self.started, 1)}
            self.page = write_training_report(folder, facts, self.task.loss_unit)
        if not interrupted:
            self.evaluator.diagnose()
        self.run.log_checkpoints()
        log.debug('metrics: %s, curves: %s', metrics, os.path.join(folder, CURVES))
        if self.world.is_main_process:
            show(self.end_pairs(time.monotonic() - self.started))
        if interrupted:
            raise Interrupted
        if not self.world.is_main_process:
            return None
        if self.args.enable_ce:
            print_kpis(points)
        best = self.run.best
        scores = read_json_object(os.path.join(best, SCORES_FILE), finite=False) if best else {}
        return Finetuned(best, self.run.checkpoints.newest(), scores, metrics, self.page)

    # ------------------------------------------------------------ evaluation alone

    def evaluate_only(self):
        """Score the dev sets and predict the test sets with --init_checkpoint."""
        with self.world.local_main_process_first():
            if held_share(self.args) and self.args.train_set:
                self._training_rows()
            self.evaluator.read_sets()
        self.load(self.evaluator.any_program())
        folder = self.run.start
        state = read_state(folder) if os.path.isfile(os.path.join(folder, STATE)) else {}
        self.run.open_records(EVALUATION_FILE)
        self.evaluator.run(state.get('epoch', 0), state.get('global_step', 0), last=True)
        self.evaluator.keep()
        page = None
        if self.world.is_main_process:
            facts = run_facts(self.args, self.task, self.source, None, self.evaluator.scored_sets())
            names = list(self.evaluator.found)
            page = write_evaluation_report(self.args.checkpoints, facts, self.args.recorded(), folder, names)
        self.evaluator.diagnose()
        self.run.records.close()
        scores = self.evaluator.main[0] if self.evaluator.main else {}
        return Finetuned(None, None, scores, os.path.join(self.args.checkpoints, EVALUATION_FILE), page)


def _ends_epoch(loop):
    """Whether the last update of a `LoopState` was the last of its epoch."""
    return loop.batch.position['batch'] == 0
