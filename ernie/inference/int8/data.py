"""The rows that calibrate a model and those that it is scored on: files of the user, or those of its training."""

import os
from typing import NamedTuple

import numpy as np

from ernie.checkpoint.model_folder import LABELS
from ernie.inference.int8.scores import TaskScores, VectorScores
from ernie.inference.vectors import VectorFolder
from ernie.reader.classify import ClassifyReader
from ernie.reader.dataset_folder import data_digest, is_there, named_split
from ernie.reader.fitting import text_rules
from ernie.reader.sentence_types import check_sentence_types
from ernie.reader.tokenized_set import encoder_arrays
from ernie.run.evaluation import held_name
from ernie.settings import run_yaml
from ernie.settings.fields import Misfit, described
from ernie.settings.finetune import FinetuneSettings, OwnDataSettings
from propeller.args import split_list
from propeller.errors import UserError, bad_input, quoted
from propeller.log import get_logger
from propeller.train.checkpoint import STATE, read_state

log = get_logger(__name__)

MOST_ROWS, ENOUGH_ROWS, LEAST_ROWS = 300, 100, 20


class Data(NamedTuple):
    """scores: `TaskScores` or `VectorScores`. calibration: list of inputs of the model, each of one row at its own
    length; [] where none are needed. lengths: tokens of these rows. source: name of the file that they are from.
    """

    scores: object
    calibration: list
    lengths: list
    source: str | None


class Recorded(NamedTuple):
    """What is known of the training of a checkpoint. settings: of its run.yaml, {} where there is none. state: of
    `training_state.json`, {} where there is none.
    """

    settings: dict
    state: dict


def read_data(folder, calibration_set=None, dev_set=None, calibrates=True):
    """`Data` of a model.

    Args:
        folder: `ModelFolder` or `VectorFolder` of a model that is not exported.
        calibration_set, dev_set: files; None: of the training of the model, where they are still there.
        calibrates: whether rows to calibrate with are needed.
    Raises:
        UserError: a file is missing, of another task, or has too few rows.
    """
    for flag, path in (('calibration_set', calibration_set), ('dev_set', dev_set)):
        if path and not is_there(path):
            raise UserError(f'--{flag}: {path}: no such file.')
    recorded = recorded_of(folder.path)
    if isinstance(folder, VectorFolder):
        return _of_vectors(folder, recorded, calibration_set, dev_set, calibrates)
    task = scoring_task(folder, recorded.settings)
    train, dev = (None, None) if calibration_set and dev_set else _of_training(task, recorded, folder.path)
    if dev_set:
        dev = (dev_set, task.read_scored(_file(dev_set, 'validation')))
    if dev is None:
        raise _nothing(folder.path, recorded, 'score', 'dev_set', 'labelled rows, in the columns of the training file')
    scores = TaskScores(task, folder.settings.get('constants', {}), *dev)
    if not calibrates:
        return Data(scores, [], [], None)
    if calibration_set:
        train = calibration_set, task.read(_file(calibration_set, 'train'), labelled=False)
    if train is None:
        raise _nothing(
            folder.path, recorded, 'calibrate', 'calibration_set', 'rows in the columns of the training file'
        )
    name, rows = train
    chosen = spread(len(rows))
    check_count(name, len(chosen))
    inputs = [task.arrays(rows, np.array([i]), labelled=False) for i in chosen]
    return Data(scores, inputs, np.asarray(rows.lengths)[chosen].tolist(), name)


def _of_vectors(folder, recorded, calibration_set, dev_set, calibrates):
    settings = folder.settings
    reader = ClassifyReader(
        folder.codec.tokenizer,
        settings['max_seq_len'],
        task_kind='predict',
        **text_rules(settings),
        cache=False,
        learnt=folder.saved.get('column_names'),
    )

    def read(path, split):
        rows = reader.read(_file(path, split))
        check_sentence_types(folder.config, rows, path)
        return rows

    source = calibration_set or _if_there(recorded.settings.get('train_set'))
    scored = dev_set or (None if calibrates else source)
    if not source and (calibrates or not scored):
        flag = 'calibration_set' if calibrates else 'dev_set'
        raise _nothing(folder.path, recorded, 'calibrate' if calibrates else 'compare', flag, 'texts')
    rows = read(source, 'train') if source and (calibrates or not dev_set) else None
    chosen = spread(len(rows)) if calibrates else []
    if calibrates:
        check_count(source, len(chosen))
    if scored:
        scores = VectorScores(scored, read(scored, 'validation'), folder.codec.task_id)
    else:
        rest = np.setdiff1d(np.arange(len(rows)), chosen)
        if not len(rest):
            log.warning('%s: the vectors are compared on the rows that calibrate; --dev_set gives others', source)
        rest = rest if len(rest) else np.asarray(chosen)
        scores = VectorScores(source, rows.take(rest[spread(len(rest), 2000)]), folder.codec.task_id)
    inputs = [encoder_arrays(rows, np.array([i]), folder.codec.task_id) for i in chosen]
    return Data(scores, inputs, np.asarray(rows.lengths)[chosen].tolist() if calibrates else [], source)


def spread(count, most=MOST_ROWS):
    """Ascending numbers of at most so many rows of a file, chosen at random, the same in each call."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def check_count(path, count):
    """Raises `UserError`: there are too few rows to calibrate with; a few more than that are worth a warning."""
    if count < LEAST_ROWS:
        raise bad_input(path, f'{count} rows', f'at least {LEAST_ROWS} to calibrate with, better {MOST_ROWS}')
    if count < ENOUGH_ROWS:
        log.warning('%s: %d rows calibrate the model; %d or more would tell its range better', path, count, ENOUGH_ROWS)


# ---------------------------------------------------------------- the training of a checkpoint


def recorded_of(checkpoint):
    """`Recorded` of a checkpoint, whose training has its run.yaml in the folder around it."""
    path, state = os.path.join(os.path.dirname(os.path.abspath(checkpoint)), run_yaml.FILE), {}
    if not os.path.isfile(path) or not os.path.isdir(checkpoint):
        return Recorded({}, {})
    try:
        settings = run_yaml.read_settings(path, OwnDataSettings)
        if os.path.isfile(os.path.join(checkpoint, STATE)):
            state = read_state(checkpoint)
    except UserError as e:  # of another release; the user can still name the files
        log.debug('%s', e)
        return Recorded({}, {})
    return Recorded(settings, state)


def scoring_task(folder, recorded):
    """The `Task` of a `ModelFolder`, for scores alone. recorded: dict, settings of its training."""
    known, values = described(FinetuneSettings), {}
    for name, value in folder.settings.items():
        if name in known and value is not None:
            try:
                values[name] = known[name].fitting(value)
            except Misfit as e:
                raise bad_input(os.path.join(folder.path, LABELS), f'{name} {quoted(value)}', e.expected) from None
    values.setdefault('metric', recorded.get('metric', FinetuneSettings.metric))
    args = FinetuneSettings(given=frozenset(), do_train=False, init_checkpoint=folder.path, **values)
    training = folder.spec.load('training')
    return training(training.prepare_flags(args), folder.config, folder.codec.tokenizer, folder.settings)


def _of_training(task, recorded, checkpoint):
    """((name, rows to calibrate with) or None, (name, rows to score) or None), of the files of the training."""
    settings = recorded.settings
    train, share = _if_there(settings.get('train_set')), settings.get('dev_share', 0.0)
    dev = _if_there((split_list(settings.get('dev_set')) or [None])[0])
    if dev:
        return train and (train, task.read(train, labelled=False)), (dev, task.read_scored(dev))
    if not train or not share:
        return train and (train, task.read(train, labelled=False)), None
    if recorded.state.get('train_file') not in (None, data_digest(train)):
        # What would be held out of it now may have been learnt.
        log.warning('%s: has changed since %s was trained on it; it is not used', train, checkpoint)
        return None, None
    rows, held = task.read_divided(train, share)
    return (train, rows), (held_name(train), held)


def _file(path, split):
    return named_split(path, split)


def _if_there(path):
    return path if path and is_there(path) else None


def _nothing(path, recorded, purpose, flag, what):
    """The `UserError` for a model without rows for a purpose."""
    files = [recorded.settings.get(name) for name in ('train_set', 'dev_set')]
    were = ', '.join(file for file in files if file)
    found = f'the files of its training ({were}) not there' if were else 'no record of its training'
    advice = f'Give --{flag} FILE: {what}.'
    return bad_input(path, f'{found}, and nothing to {purpose} int8 with', f'--{flag}', advice=advice)
