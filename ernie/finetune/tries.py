"""`--try N`: train N times with other rates, batches, epochs and lengths, and keep the best.

Each try is a run of its own in `<checkpoints>/tries/01` ..., in a process of its own. The first one has the settings as
they are, so the search never ends below them. The best checkpoint so far is always `<checkpoints>/best`.
"""

import contextlib
import os
import shlex
import shutil
import time
from statistics import median

from ernie.finetune.try_files import DONE, FAILED, OUTCOME, STOPPED, Outcome, TryFiles, best_of, table_lines
from ernie.finetune.try_process import WORDS, run_try
from ernie.finetune.try_space import SEARCHED, next_settings
from ernie.reader.columns import ColumnNames
from ernie.reader.dataset_folder import is_regular
from ernie.reader.naming import Naming
from ernie.reader.records import read_records
from ernie.report.names import FACTS
from ernie.report.writing import renew_card, renew_training_report
from ernie.run.evaluation import SCORES_FILE
from ernie.run.outputs import REPORTS
from ernie.run.resume import ernie_words, program_style
from ernie.run.start import folder_of
from ernie.settings import run_yaml
from ernie.settings.fields import AUTO
from ernie.settings.finetune import FinetuneSettings
from propeller.args import split_list
from propeller.errors import Interrupted, UsageError, UserError
from propeller.inputs import read_json_object
from propeller.log import RUN_LOG, get_logger, keep_log
from propeller.storage.folders import remove_folder, whole_folder
from propeller.train.checkpoint import BEST, MODEL, Checkpoints, refuse_foreign, run_of
from propeller.train.record import METRICS_FILE, read_metrics
from propeller.train.run_folder import FILE as RUN_FILE

log = get_logger(__name__)

_SEEDS = 2**31
_OF_MODEL = ('tokenizer', 'do_lower_case')  # where no flag says it, its folder does


def search(args, spec, world, train=None):
    """Do what `--try` asks for.

    Args:
        args: `FinetuneSettings`, checked, with `tries` above 0.
        spec: `TaskSpec`.
        world: `World` of this process.
        train: what trains: (number, flags, seconds or None) -> (exit code, None at the time limit; last words); else
            processes do.
    Returns:
        (folder of the best checkpoint, its scores, path of the records of its run).
    Raises:
        UserError: the data or the settings are at fault, or no try came to a score.
        Interrupted: Ctrl-C or SIGTERM; the same command goes on.
    """
    if world.size > 1:
        raise UsageError('--try: each try takes all cores of a machine; start it without a launcher.')
    if args.init_checkpoint or not args.do_train:
        raise UsageError('--try trains from pre-trained parameters: leave out --init_checkpoint and --do_train false.')
    if not (args.do_val and (args.dev_set or args.dev_share)):
        raise UsageError('--try compares scores on a dev set: give --dev_set or --dev_share, and not --do_val false.')
    once = [path for path in (args.train_set, *split_list(args.dev_set)) if not is_regular(path)]
    if once:
        raise UsageError(f'--try: {once[0]} can be read once only, and every try reads it; give a file.')
    return Search(args, spec, world, train).run()


class Search:
    """One search. See `search` for the arguments."""

    def __init__(self, args, spec, world, train=None):
        self.spec, self.world, self.files = spec, world, TryFiles(args.checkpoints)
        self.program = f'finetune {spec.name}'
        self.train = train or self._train
        self.asked = args
        self.args = args.replace(do_test=False, test_set=None, diagnostic=None, diagnostic_save=None)

    def run(self):
        """All tries, the table, the test sets."""
        root = self.asked.checkpoints
        run_yaml.check_place(root)
        folder = folder_of(self.asked, self.world)
        with folder.held():
            self._begin(folder)
            keep_log(os.path.join(root, RUN_LOG))
            self._settle()
            self._do_tries()
            return self._finish()

    def _do_tries(self):
        try:
            for number in range(1, self.asked.tries + 1):
                if self.files.outcome(number):
                    continue
                if self._is_out_of_time():
                    log.info('--try_minutes %g are over: no further try', self.asked.try_minutes)
                    break
                place = self.files.place(number)
                log.info('try %d of %d begins: %s', number, self.asked.tries, os.path.join(place, RUN_LOG))
                outcome = self._try(number)
                if outcome is None:
                    log.info('no further settings to try')
                    break
                self._say(outcome)
                self._settle()
        except Interrupted:
            log.info('interrupted: the same command goes on with the search')
            raise

    def _begin(self, folder):
        """A new search, or the one that is here, whose tries are not done again."""
        args, files = self.args, self.files
        if files.exists() and not self.asked.overwrite_checkpoints:
            self.args = args.replace(random_seed=files.check_plan(args, self.spec.name))
            done = len(files.outcomes())
            log.info('%s: the search goes on; %d of %d tries are done', files.folder, done, self.asked.tries)
            return
        folder.choose(False, self.asked.overwrite_checkpoints, None, (args.init_pretraining_params,))
        if files.exists():
            shutil.rmtree(files.folder)
        folder.begin(0, [os.path.basename(files.table), METRICS_FILE, run_yaml.FILE])
        seed = args.random_seed if args.random_seed is not None else int.from_bytes(os.urandom(4)) % _SEEDS
        self.args = args.replace(random_seed=seed)
        files.write_plan(self.args, self.spec.name)

    def _is_out_of_time(self):
        """Whether the limit is reached, or would be long before the next try ends."""
        times = [o.seconds for o in self.files.outcomes()]
        limit = 60 * self.asked.try_minutes
        return bool(limit and times) and limit - sum(times) < median(times) / 2

    # ------------------------------------------------------------ one try

    def _try(self, number):
        """Train once -> `Outcome`; None where there are no further settings."""
        place, settings = self.files.place(number), {}
        if number > 1:
            settings = self._settings(number)
            if settings is None:
                return None
        os.makedirs(place, exist_ok=True)
        if not os.path.isfile(os.path.join(place, run_yaml.FILE)):
            of_model = [name for name in _OF_MODEL if not self.args.gave(name)]
            asked = self.args.replace(checkpoints=place, **settings)
            run_yaml.write_settings(place, asked, self.program, left_out=of_model)
        limit = 60 * self.asked.try_minutes
        left = limit - sum(o.seconds for o in self.files.outcomes()) if limit else None
        began = time.monotonic()
        code, error = self.train(number, ['--config', os.path.join(place, run_yaml.FILE), '--resume', 'true'], left)
        seconds = time.monotonic() - began
        found = self._numbers(place)
        if code and (code == 2 or (number == 1 and AUTO in found.values())):
            # Nothing was trained: it is not the numbers that are at fault, and all others would end so.
            raise (UsageError if code == 2 else UserError)(error)
        status = STOPPED if code is None else FAILED if code else DONE
        score, best_step = self._score(place)
        outcome = Outcome(number, found, status, score, best_step, self._steps(place), round(seconds, 1), error)
        self.files.keep(outcome)
        return outcome

    def _train(self, number, flags, seconds):
        place = self.files.place(number) if number else self.files.folder
        # What is odd about the data is said once.
        return run_try(place, self.spec.verb, flags, seconds, {0: None, 1: 'warning'}.get(number, 'error'))

    def _settings(self, number):
        """Numbers for a try after the first: others than those before. dict; None: there are none."""
        centre = self._numbers(self.files.place(1))
        fixed = [name for name in SEARCHED if self.args.gave(name) and getattr(self.args, name) != AUTO]
        before = [o.settings for o in self.files.outcomes() if o.number < number]
        return next_settings(self.args.random_seed, number, centre, fixed, before)

    def _numbers(self, place):
        """dict name -> number of a try, by the run.yaml in its folder."""
        found = run_yaml.read_settings(os.path.join(place, run_yaml.FILE), FinetuneSettings)
        return {name: found[name] for name in SEARCHED}

    @staticmethod
    def _score(place):
        path = os.path.join(place, BEST, SCORES_FILE)
        if not os.path.isfile(path):
            return None, None
        scores = read_json_object(path, finite=False)
        return scores.get('main_value'), scores.get('step')

    @staticmethod
    def _steps(place):
        path = os.path.join(place, METRICS_FILE)
        steps = [record['step'] for record in read_metrics(path)] if os.path.isfile(path) else []
        return max([*steps, *Checkpoints(place).folders()], default=0)

    def _say(self, o):
        numbers = {name: f'{o.settings[name]:g}' for name in SEARCHED}
        shown = 'rate {learning_rate}, batch {batch_size}, epochs {epoch}, length {max_seq_len}'.format(**numbers)
        score = 'no score' if o.score is None else f'dev score {o.score:.4f}'
        best = best_of(self.files.outcomes())
        note = ', the best so far' if best and best.number == o.number else ''
        log.info('try %d of %d: %s: %s%s, %.0f s', o.number, self.asked.tries, shown, score, note, o.seconds)
        if o.status == FAILED:
            log.warning('try %d failed: %s', o.number, o.error)

    # ------------------------------------------------------------ the best

    def _settle(self):
        """The best checkpoint is <checkpoints>/best, with its report; the weights of the tries that are done go."""
        outcomes = self.files.outcomes()
        best = best_of(outcomes)
        if best:
            source, target = os.path.join(self.files.place(best.number), BEST), os.path.join(self.files.root, BEST)
            if os.path.isdir(source) and not (os.path.isdir(target) and run_of(target) == run_of(source)):
                self._promote(self.files.place(best.number), source, target)
        for outcome in outcomes:
            place = self.files.place(outcome.number)
            for name in [*Checkpoints(place).folders().values(), BEST]:
                if os.path.isdir(os.path.join(place, name)):
                    remove_folder(os.path.join(place, name))
        if outcomes:
            self.files.write_table(outcomes)

    def _promote(self, place, source, target):
        refuse_foreign(target)
        root = self.files.root
        settings = FinetuneSettings(**run_yaml.read_settings(os.path.join(place, run_yaml.FILE), FinetuneSettings))
        settings = settings.replace(checkpoints=root)
        with whole_folder(target, replace=True) as work:
            for entry in os.scandir(source):
                if entry.is_dir():  # of the tokenizer
                    shutil.copytree(entry.path, os.path.join(work, entry.name))
                else:
                    _put(entry.path, os.path.join(work, entry.name), linked=entry.name == MODEL)
            renew_card(work, os.path.join(place, FACTS), settings.recorded(), target)
        run_yaml.write_settings(root, settings, self.program)
        for folder in ('', REPORTS):
            for name in _files(os.path.join(place, folder)):
                if name not in (run_yaml.FILE, RUN_FILE, OUTCOME, WORDS, RUN_LOG):
                    os.makedirs(os.path.join(root, folder), exist_ok=True)
                    _put(os.path.join(place, folder, name), os.path.join(root, folder, name))

    def _finish(self):
        root, outcomes = self.files.root, self.files.outcomes()
        best = best_of(outcomes)
        if best is None:
            first = next((f'; the first: {o.error}' for o in outcomes if o.error), '')
            raise UserError(f'{self.files.folder}: none of {len(outcomes)} tries came to a score on the dev set{first}')
        for line in table_lines(outcomes):
            log.info('%s', line)
        log.info('table: %s. best checkpoint: %s (try %d)', self.files.table, os.path.join(root, BEST), best.number)
        log.info('its dev score is the best of %d, so it flatters: judge by data that no try has seen', len(outcomes))
        if os.path.isfile(os.path.join(root, FACTS)):
            log.info('report: %s', renew_training_report(root))
        self._predict()
        if program_style() != 'call':
            file = (split_list(self.asked.dev_set) or [self.asked.train_set])[0]
            log.info('next: %s', shlex.join([*ernie_words(), 'predict', os.path.join(root, BEST), file]))
        scores = read_json_object(os.path.join(root, BEST, SCORES_FILE), finite=False)
        return os.path.join(root, BEST), scores, os.path.join(root, METRICS_FILE)

    def _predict(self):
        """The test sets, with the best: predicted, and scored where they have labels."""
        asked = self.asked
        if not (asked.do_test and split_list(asked.test_set)):
            return
        root = self.files.root
        chosen = run_yaml.read_settings(os.path.join(root, run_yaml.FILE), FinetuneSettings)
        names = ('test_set', 'test_save', 'diagnostic', 'diagnostic_save')
        labelled = ','.join(path for path in split_list(asked.test_set) if _is_labelled(path, asked, self.spec))
        fresh = {'do_train': False, 'do_val': bool(labelled), 'dev_set': labelled or None, 'dev_share': 0.0}
        fresh |= {
            'do_test': True,
            'init_checkpoint': os.path.join(root, BEST),
            'init_pretraining_params': None,
            'early_stop': -1,
            'boost': False,
        }
        settings = FinetuneSettings(**{**chosen, **fresh, **{name: getattr(asked, name) for name in names}})
        place = os.path.join(self.files.folder, 'test')
        os.makedirs(place, exist_ok=True)
        run_yaml.write_settings(place, settings.replace(checkpoints=root), self.program)
        code, error = self.train(0, ['--config', os.path.join(place, run_yaml.FILE)], None)
        if code:
            raise UserError(f'the test sets: {error}')


def _is_labelled(path, args, spec):
    """Whether a file is a table with a column of labels, or has what the task learns from in a form of its own."""
    if not is_regular(path):
        return False
    with contextlib.suppress(UserError, StopIteration):
        rows = read_records(path, columns=Naming((), ColumnNames.of(args), labelled=True))
        if 'label' in next(rows).cells:
            return True
    with contextlib.suppress(UserError):
        return any(row[-1] for row in spec.load('survey')(path, args).first) if spec.survey else False
    return False


def _files(folder):
    return [entry.name for entry in os.scandir(folder) if entry.is_file()] if os.path.isdir(folder) else []


def _put(source, target, linked=False):
    """Copy a file; a large one that never changes shares its bytes where the disk can do that."""
    if linked:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
    else:
        partial = f'{target}.partial'
        shutil.copy2(source, partial)
        os.replace(partial, target)
