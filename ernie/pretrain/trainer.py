"""One pre-training run: streams by the schedule, training with validation and checkpoints, or a test alone."""

import os
import time

from ernie.checkpoint.model_folder import companion_files
from ernie.checkpoint.tokenizer_settings import folder_tokenizer
from ernie.pretrain.file_list import read_file_list
from ernie.pretrain.label_check import warn_of_missing_labels
from ernie.pretrain.log import NEXT_SENTENCE, PretrainLogHook, Scores, level_of_tasks
from ernie.pretrain.masking import Masking, VocabularyIds
from ernie.pretrain.model import PretrainModel, feeds
from ernie.pretrain.overview import end_pairs, start_pairs
from ernie.pretrain.reader import PretrainStream
from ernie.pretrain.reader_settings import ReaderSettings
from ernie.pretrain.run_length import rate_settings, schedule_record, settle_schedule, warn_of_early_end
from ernie.pretrain.sample_set import Limits
from ernie.pretrain.schedule import ONLY, schedule_of, tasks_of
from ernie.pretrain.updates import Updates, parts_of
from ernie.report.facts import pretraining_facts
from ernie.report.names import FILES
from ernie.report.writing import earlier_seconds, write_training_report
from ernie.run.blocks import show
from ernie.run.device import with_device
from ernie.run.initial_values import InitialValues
from ernie.run.memory import MEGABYTE, report_training
from ernie.run.session import session_of
from ernie.run.source import Source, check_same_vocabulary, check_vocabulary
from ernie.run.start import advice_to_start_over, folder_of, start_of
from ernie.settings import run_yaml
from ernie.tokenization import load_vocab
from propeller.args import print_arguments
from propeller.distribution import join, log_in_main_process_only, process_info
from propeller.errors import Interrupted
from propeller.log import RUN_LOG, get_logger, keep_log
from propeller.storage.atomic import check_writable, refuse_inputs
from propeller.train.hooks import EvaluationHook
from propeller.train.loop import evaluation_pass
from propeller.train.model import build_model_spec
from propeller.train.record import METRICS_FILE
from propeller.train.run import TrainingRun
from propeller.types import HParams, RunMode

log = get_logger(__name__)

PREFETCHED_UPDATES = 50


def pretrain(args):
    """Do what the settings of train.py ask for.

    Args:
        args: `PretrainSettings`.
    Raises:
        UserError: anything the user can mend.
    """
    log_in_main_process_only(process_info(os.environ))
    given, args = args, args.checked()
    check_writable(args.checkpoints, '--checkpoints')
    lists = (args.train_filelist, args.valid_filelist, args.test_filelist, args.schedule)
    for name in (METRICS_FILE, RUN_LOG, *FILES):
        refuse_inputs(os.path.join(args.checkpoints, name), '--checkpoints', lists)
    print_arguments(given, log)
    args = with_device(args).checked()
    world = join(args.use_cuda)
    folder = folder_of(args, world, args.keep_best)
    if args.do_test:
        PreTraining(args, world, folder).test()
        return
    run_yaml.check_place(args.checkpoints)
    with folder.held():
        PreTraining(args, world, folder).train()


class PreTraining:
    """Holds what training and tests share: the run, session, schedule, tasks, source of the model.

    In a job of several processes each of them holds all of it; the main process alone writes logs and files.
    """

    def __init__(self, args, world, folder):
        self.world = world
        start = args.init_checkpoint if args.do_test else start_of(args, folder)
        self.run = TrainingRun(folder, start, resume=not args.do_test)
        path = start or args.init_pretraining_params
        if path:  # what lies beside the parameters belongs to them; a path that the user gives wins
            beside = [name for name in ('ernie_config_path', 'vocab_path') if not args.gave(name)]
            args = args.replace(**dict.fromkeys(beside))
        self.source = Source(path, args.ernie_config_path, args.vocab_path)
        self.vocab = self._vocabulary()
        self.schedule = schedule_of(args)
        self.tasks = tasks_of(args, self.schedule)
        seed = self.run.state.get('seed') if self.run.resumes else args.random_seed
        self.session = session_of(args, seed, world)
        self.args = args.replace(precision=self.session.precision, random_seed=self.session.seed)
        settings = tokenizer_of_samples(args.train_filelist, self.source)
        tokenizer = self.source.folder_tokenizer.make(self.source.vocab_path, settings)
        files = companion_files(self.source.config, tokenizer)
        folder.checkpoints.files = files
        log.debug('Device count %d', world.size)
        log.debug('args.is_distributed: %s', args.is_distributed)
        log.debug('tasks: %s', ', '.join(task.name for task in self.tasks))

    def _vocabulary(self):
        vocab = load_vocab(self.source.vocab_path)
        check_vocabulary(vocab, self.source)
        if self.run.resumes:
            check_same_vocabulary(self.source)
        return vocab

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
            loss_scale=args.loss_scale() if training else None,
            exact=not training,
        )

    def _load(self, program):
        """Give `program` its values. Returns the number of updates done by earlier runs."""
        heads = tuple(f'{task.head}' for task in self.tasks)
        is_new = lambda name: name.startswith((*heads, 'mask_lm_', 'pooled_fc'))  # noqa: E731
        return InitialValues(self.args, self.source, self.run, is_new).load(self.session, program)

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
        args, run = self.args, self.run
        log.debug('pretraining start')
        source = self._updates()
        self.schedule = settle_schedule(args, source, self.world, run.start if run.resumes else None)
        program, evaluation = self._build(RunMode.TRAIN), self._evaluation()
        need = report_training(args, self.source.config, program, max(args.batch_size // args.max_seq_len, 1))
        log.debug('theoretical memory usage:')
        log.debug('%s', ((need.program + need.parameters) / MEGABYTE, need.total / MEGABYTE, 'MB'))
        started = time.monotonic() - (earlier_seconds(args.checkpoints) if run.resumes else 0)
        step = self._load(program)
        run.begin(self.session, program, step, [METRICS_FILE, *FILES, run_yaml.FILE, RUN_LOG])
        if self.world.is_main_process:
            keep_log(os.path.join(args.checkpoints, RUN_LOG))
            run_yaml.write_settings(args.checkpoints, args, 'pretrain')
            show(start_pairs(self, program, step))
        run.open_records(log_dir=args.log_dir)
        training_log = PretrainLogHook(
            *(self.session, program, self.tasks, args.skip_steps, run.queue_size, run.record, self.schedule.total),
            is_shown=not run.shows_bar(),
        )
        use_task_id = self.source.config.use_task_id
        run.train(
            source,
            [training_log, *(program.outputs.train_hooks or ())],
            facts={'schedule': schedule_record(args, self.schedule)},
            save_steps=args.save_steps,
            evaluation=evaluation,
            last_step=self.schedule.total,
            title='pre-training',
            parts_of=lambda batch: parts_of(batch, self.tasks, use_task_id),
            prefetched=PREFETCHED_UPDATES,
        )
        if not run.loop.interrupted and not run.stopped_early:
            warn_of_early_end(args, self.schedule, run.loop.gstep)
        if self.world.is_main_process:
            facts = pretraining_facts(args, self.source) | {'seconds': round(time.monotonic() - started, 1)}
            page = write_training_report(args.checkpoints, facts)
            run.log_checkpoints()
            show(end_pairs(self, time.monotonic() - started, page))
        if run.loop.interrupted:
            raise Interrupted

    def _updates(self):
        """The updates from the start on, or from where the checkpoint stands: known before it is loaded."""
        streams = {
            name: self._stream(path, training=True, names=None if name == ONLY else [name])
            for name, path in self.schedule.filelists.items()
        }
        updates = Updates(self.schedule, streams)
        self.run.seek(updates, advice_to_start_over(self.run.start))
        return updates

    # ------------------------------------------------------------ validation and test

    def _evaluation(self):
        """The `EvaluationHook` that scores --valid_filelist; None without one."""
        args = self.args
        if not args.valid_filelist:
            return None
        program, stream = self._build(RunMode.EVAL), self._stream(args.valid_filelist, training=False)
        next(iter(stream))  # no sample that can be used, or a bad one, is said now, not after hours

        def validate(loop, last):
            scores, speed = self._score(program, stream)
            epoch, step = loop.batch.epoch, loop.gstep
            log.info(
                '[validation_set] epoch: %d, step: %d, loss: %f, global ppl: %f, batch-averged ppl: %f, '
                'next_sent_acc: %f, speed: %f steps/s',
                *(epoch, step, scores.loss, scores.perplexity, scores.mean_perplexity),
                *(scores.accuracy_of(NEXT_SENTENCE), speed),
            )
            log.log(level_of_tasks(self.tasks), '[validation_set] tasks: %s', scores.task_line())
            self.run.record('valid', step, epoch, scores.values())
            return scores.loss

        return EvaluationHook(
            validate, args.validation_steps, keep_best=args.keep_best, larger=False, patience=args.early_stop
        )

    def _score(self, program, stream, after_batch=lambda batches: None):
        """(`Scores` of all batches of a stream, batches a second)."""
        scores, started, use_task_id = Scores(self.tasks), time.monotonic(), self.source.config.use_task_id

        def arrays_of(batch):
            ((arrays, _),) = parts_of(batch, self.tasks, use_task_id)
            return arrays

        fetch = program.outputs.predictions
        for _, fetched in evaluation_pass(self.session, program, stream, fetch, arrays_of):
            scores.add(fetched[0])
            after_batch(scores.batches)
        return scores, scores.batches / max(time.monotonic() - started, 1e-9)

    def test(self):
        """Score --test_filelist with --init_checkpoint."""
        args, program = self.args, self._build(RunMode.EVAL)
        self._load(program)
        log.debug('test begin')

        def log_progress(batches):
            if batches % args.skip_steps == 0:
                log.debug('[test_set] steps: %d', batches)

        scores, speed = self._score(program, self._stream(args.test_filelist, training=False), log_progress)
        log.info(
            '[test_set] loss: %f, global ppl: %f, next_sent_acc: %f, speed: %f steps/s',
            *(scores.loss, scores.perplexity, scores.accuracy_of(NEXT_SENTENCE), speed),
        )
        log.log(level_of_tasks(self.tasks), '[test_set] tasks: %s', scores.task_line())


def tokenizer_of_samples(file_list, source):
    """The `TokenizerSettings` of a model trained on the samples of a file list: those of the builder that made them,
    as the file beside the list says; for samples without one, those of the model that training starts from.
    """
    made = folder_tokenizer(os.path.dirname(file_list or '') or '.')
    model = source.folder_tokenizer
    for name, place in made.said_by.items():
        if name in model.said_by and getattr(made.settings, name) != getattr(model.settings, name):
            log.warning('%s: %s is not as in %s: the samples were cut in another way than the model learnt',
                        place, name, model.said_by[name])  # fmt: skip
    return made.settings if made.said_by else model.settings
