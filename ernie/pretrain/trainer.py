"""One pre-training run: streams by the schedule, training with validation and checkpoints, or a test alone."""

import json
import os
import sys
import time

from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.pretrain.file_list import read_file_list
from ernie.pretrain.label_check import warn_of_missing_labels
from ernie.pretrain.log import NEXT_SENTENCE, PretrainLogHook, Scores
from ernie.pretrain.masking import Masking, VocabularyIds
from ernie.pretrain.model import PretrainModel, feeds
from ernie.pretrain.reader import PretrainStream
from ernie.pretrain.reader_settings import ReaderSettings
from ernie.pretrain.run_length import rate_settings, schedule_record, settle_schedule, warn_of_early_end
from ernie.pretrain.sample_set import Limits
from ernie.pretrain.schedule import ONLY
from ernie.pretrain.settings import check_flags, schedule_of, tasks_of
from ernie.pretrain.updates import Update, Updates, parts_of
from ernie.run.initial_values import InitialValues
from ernie.run.memory import MEGABYTE, report_training
from ernie.run.precision import loss_scale
from ernie.run.session import session_of
from ernie.run.source import Source, check_same_vocabulary, check_vocabulary
from ernie.run.start import advice_to_start_over, start_of
from ernie.tokenization import load_vocab
from ernie.utils.args import print_arguments
from propeller.data.prefetch import prefetch
from propeller.distribution import join, log_in_main_process_only, process_info
from propeller.errors import UserError, quoted
from propeller.log import get_logger
from propeller.storage.atomic import check_writable, refuse_inputs
from propeller.train.checkpoint import (
    STATE,
    Checkpoints,
    can_continue,
    computation_state,
    read_state,
    restore_computation,
)
from propeller.train.hook_states import restore_states, states_of
from propeller.train.hooks import CheckpointSaverHook, PeriodicEvaluationHook, StopAtStepHook, TqdmProgressBarHook
from propeller.train.loop import LoopState, evaluation_pass, train_loop
from propeller.train.model import build_model_spec
from propeller.train.record import EventWriter, MetricsFile
from propeller.train.run_folder import RunFolder
from propeller.types import HParams, RunMode

log = get_logger(__name__)

METRICS_FILE = 'metrics.jsonl'
PREFETCHED_UPDATES = 50


def pretrain(args):
    """Do what the flags of train.py ask for.

    Raises:
        UserError: anything the user can mend.
    """
    log_in_main_process_only(process_info(os.environ))
    print_arguments(args, log)
    check_flags(args)
    check_writable(args.checkpoints, '--checkpoints')
    lists = (args.train_filelist, args.valid_filelist, args.test_filelist, args.schedule)
    refuse_inputs(os.path.join(args.checkpoints, METRICS_FILE), '--checkpoints', lists)
    world = join(args.use_cuda)
    folder = RunFolder(Checkpoints(args.checkpoints, keep=args.max_checkpoints), world)
    if args.do_test:
        PreTraining(args, world, folder).test()
        return
    with folder.held():
        PreTraining(args, world, folder).train()


class PreTraining:
    """Holds what training and tests share: session, schedule, tasks, where the values come from.

    In a job of several processes each of them holds all of it; the first one alone writes logs and files.
    """

    def __init__(self, args, world, folder):
        self.args, self.world, self.folder, self.checkpoints = args, world, folder, folder.checkpoints
        self.start_from = args.init_checkpoint if args.do_test else start_of(args, folder)
        path = self.start_from or args.init_pretraining_params
        # What lies beside the parameters belongs to them; a path that the user gives wins.
        config, vocab = (
            getattr(args, flag) if flag in args.given or not path else None
            for flag in ('ernie_config_path', 'vocab_path')
        )
        self.source = Source(path, config, vocab)
        self.vocab = self._vocabulary()
        self.schedule = schedule_of(args)
        self.tasks = tasks_of(args, self.schedule)
        self.session = session_of(args, self._seed(), world)
        self.checkpoints.files = checkpoint_files(self.source, tokenizer_of_samples(args.train_filelist, self.source))
        self.metrics = self.events = None
        log.info('Device count %d', world.size)
        log.info('args.is_distributed: %s', args.is_distributed)
        log.info('tasks: %s', ', '.join(task.name for task in self.tasks))

    def _vocabulary(self):
        vocab = load_vocab(self.source.vocab_path)
        check_vocabulary(vocab, self.source)
        if self._continues():
            check_same_vocabulary(self.source)
        return vocab

    def _seed(self):
        return read_state(self.start_from).get('seed') if self._continues() else self.args.random_seed

    def _continues(self):
        return bool(self.start_from and not self.args.do_test and can_continue(self.start_from))

    # ------------------------------------------------------------ parts

    def _build(self, mode):
        args, training = self.args, mode == RunMode.TRAIN
        params = HParams(
            ernie=self.source.config,
            tasks=self.tasks,
            weight_sharing=args.weight_sharing,
            rate=self.schedule.rate(*rate_settings(args)),
            weight_decay=args.weight_decay,
            recompute=args.recompute,
        )
        return self.session.build(
            feeds(self.source.config, self.tasks),
            lambda *features: build_model_spec(PretrainModel, features, mode, params, None),
            parts=args.gradient_accumulation_steps if training else 1,
            loss_scale=loss_scale(args) if training else None,
            exact=not training,
        )

    def _load(self, program):
        """Returns (training state to continue from or None, updates done earlier)."""
        heads = tuple(f'{task.head}' for task in self.tasks)
        is_new = lambda name: name.startswith((*heads, 'mask_lm_', 'pooled_fc'))  # noqa: E731
        return InitialValues(self.args, self.source, self.start_from, self._continues(), is_new).load(
            self.session, program
        )

    def _stream(self, filelist, training, names=None):
        """Batches of the files of a list: shuffled, without end but for --epoch, or once in order.

        names: tasks that its samples should have labels for; None: all.
        """
        args, world, files = self.args, self.world, read_file_list(filelist)
        names = names or [task.name for task in self.tasks]
        warn_of_missing_labels(filelist, files, names, self.source.config.use_task_id)
        settings = ReaderSettings(
            batch_size=args.batch_size,
            max_seq_len=args.max_seq_len,
            seed=self.session.seed,
            shuffle=training,
            buffer_size=args.buffer_size,
            generate_neg_sample=training and args.generate_neg_sample,
        )
        share = {'replica_id': world.rank, 'num_replicas': world.size, 'accumulation': args.gradient_accumulation_steps}
        return PretrainStream(
            files,
            self.tasks,
            VocabularyIds.of(self.vocab, self.source.config.vocab_size),
            Limits.of(self.source.config, self.vocab),
            settings,
            Masking(
                masking_rate=args.masking_rate,
                max_ngram=args.max_ngram,
                at_least_one=args.at_least_one,
                whole_unit=args.whole_unit,
            ),
            epochs=args.epoch if training else 1,
            **(share if training else {}),
        )

    # ------------------------------------------------------------ training

    def train(self):
        """Train, validate and save; the last update is always saved."""
        args = self.args
        log.info('pretraining start')
        source = self._updates()
        self.schedule = settle_schedule(args, source, self.world, self.start_from if self._continues() else None)
        program, validation = self._build(RunMode.TRAIN), self._validation()
        need = report_training(args, self.source.config, program, max(args.batch_size // args.max_seq_len, 1))
        log.info('theoretical memory usage:')
        log.info('%s', ((need.program + need.parameters) / MEGABYTE, need.total / MEGABYTE, 'MB'))
        state, updates = self._load(program)
        self.session.seed_dropout_by_rank()
        if state:
            restore_computation(self.session, program, state, self.start_from)
        loop = LoopState(updates)
        self._open_records(loop.gstep)
        use_task_id = self.source.config.use_task_id
        with prefetch(source, PREFETCHED_UPDATES) as ready:
            hooks = self._hooks(program, validation, ready, state)
            train_loop(
                self.session, program, ready, hooks, loop, lambda update: parts_of(update, self.tasks, use_task_id)
            )
        self._close_records()
        if not loop.interrupted:
            warn_of_early_end(args, self.schedule, loop.gstep)
        newest = self.world.is_main_process and self.checkpoints.newest()
        if newest:
            log.info('last checkpoint: %s', newest)
        if loop.interrupted:
            sys.exit(130)

    def _updates(self):
        """The updates from the start on, or from where the checkpoint stands: known before it is loaded."""
        streams = {
            name: self._stream(path, training=True, names=None if name == ONLY else [name])
            for name, path in self.schedule.filelists.items()
        }
        updates = Updates(self.schedule, streams)
        if self._continues():
            position = read_state(self.start_from).get('data_position')
            try:
                if not isinstance(position, dict):
                    raise UserError(f'found the data position {quoted(position)}, expected an object.')
                updates.seek(position)
            except UserError as e:
                raise UserError(f'{self.start_from}: {e} {advice_to_start_over(self.start_from)}') from None
        return updates

    def _hooks(self, program, validation, ready, state):
        args = self.args
        told = PretrainLogHook(self.session, program, self.tasks, args.skip_steps, ready.qsize, self._record)

        def save(loop):
            found = self._state(program, loop, states_of(hooks))
            if self.world.is_main_process:
                self.checkpoints.save(self.session, program, found)

        hooks = [told, *(program.outputs.train_hooks or ())]
        if validation:
            validate = told.outside(lambda step: validation(told.epoch, step))
            hooks.append(PeriodicEvaluationHook(validate, args.validation_steps))
        hooks += [CheckpointSaverHook(told.outside(save), args.save_steps), StopAtStepHook(self.schedule.total)]
        if sys.stderr.isatty() and self.world.is_main_process:
            hooks.append(TqdmProgressBarHook(self.schedule.total, 'pre-training'))
        if state:
            restore_states(hooks, state.get('hooks', {}), os.path.join(self.start_from, STATE))
        return hooks

    def _state(self, program, loop, hook_states):
        return {
            **computation_state(self.session, program),
            'global_step': loop.gstep,
            'epoch': loop.batch.batch.epoch,
            'data_position': loop.batch.position,
            'schedule': schedule_record(self.args, self.schedule),
            'hooks': hook_states,
        }

    def _open_records(self, step):
        self.folder.begin(step, [METRICS_FILE])
        if self.world.is_main_process:
            self.metrics = MetricsFile(os.path.join(self.args.checkpoints, METRICS_FILE), resume_step=step)
            self.events = EventWriter(self.args.log_dir, resume_step=step) if self.args.log_dir else None

    def _record(self, phase, step, epoch, values):
        if self.metrics:
            self.metrics.append(phase, step, epoch, values)
        if self.events:
            self.events.add_scalars(values, step, f'{phase}/')

    def _close_records(self):
        for file in filter(None, (self.metrics, self.events)):
            file.close()

    # ------------------------------------------------------------ validation and test

    def _validation(self):
        """Function (epoch, step) that scores --valid_filelist; None without one."""
        if not self.args.valid_filelist:
            return None
        program, stream = self._build(RunMode.EVAL), self._stream(self.args.valid_filelist, training=False)
        next(iter(stream))  # no sample that can be used, or a bad one, is said now, not after hours

        def validate(epoch, step):
            scores, speed = self._score(program, stream)
            log.info(
                '[validation_set] epoch: %d, step: %d, loss: %f, global ppl: %f, batch-averged ppl: %f, '
                'next_sent_acc: %f, speed: %f steps/s',
                *(epoch, step, scores.loss, scores.perplexity, scores.mean_perplexity),
                *(scores.accuracy_of(NEXT_SENTENCE), speed),
            )
            log.info('[validation_set] tasks: %s', scores.task_line())
            self._record('valid', step, epoch, scores.values())

        return validate

    def _score(self, program, stream, told=lambda batches: None):
        """(`Scores` of all batches of a stream, batches a second)."""
        scores, started, use_task_id = Scores(self.tasks), time.monotonic(), self.source.config.use_task_id

        def arrays_of(batch):
            ((arrays, _),) = parts_of(Update(batch, 0, {}), self.tasks, use_task_id)
            return arrays

        fetch = program.outputs.predictions
        for _, fetched in evaluation_pass(self.session, program, stream, fetch, arrays_of):
            scores.add(fetched[0])
            told(scores.batches)
        return scores, scores.batches / max(time.monotonic() - started, 1e-9)

    def test(self):
        """Score --test_filelist with --init_checkpoint."""
        args, program = self.args, self._build(RunMode.EVAL)
        self._load(program)
        log.info('test begin')

        def told(batches):
            if batches % args.skip_steps == 0:
                log.info('[test_set] steps: %d', batches)

        scores, speed = self._score(program, self._stream(args.test_filelist, training=False), told)
        log.info(
            '[test_set] loss: %f, global ppl: %f, next_sent_acc: %f, speed: %f steps/s',
            *(scores.loss, scores.perplexity, scores.accuracy_of(NEXT_SENTENCE), speed),
        )
        log.info('[test_set] tasks: %s', scores.task_line())


def tokenizer_of_samples(file_list, source):
    """The `TokenizerSettings` of a model trained on the samples of a file list: those of the builder that made them,
    told by the file beside the list; for samples without one, those of the model that training starts from.
    """
    made = folder_tokenizer(os.path.dirname(file_list or '') or '.')
    model = source.folder_tokenizer
    for name, place in made.said_by.items():
        if name in model.said_by and getattr(made.settings, name) != getattr(model.settings, name):
            log.warning('%s: %s is not as in %s: the samples were cut in another way than the model learnt',
                        place, name, model.said_by[name])  # fmt: skip
    return made.settings if made.said_by else model.settings


def checkpoint_files(source, settings):
    """dict file name -> bytes: what makes a checkpoint a model folder. settings: `TokenizerSettings`."""
    config = json.dumps(source.config.to_dict(), ensure_ascii=False, indent=2) + '\n'
    return {
        'ernie_config.json': config.encode(),
        **settings.make(source.vocab_path).files(source.config.max_position_embeddings),
    }
