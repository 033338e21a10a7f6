"""Continual multi-task learning (ERNIE 2.0, section 3): stages, their tasks, and how many updates every task gets.

A schedule is a YAML or JSON file:

    tasks:
      knowledge_masking: {filelist: data/masking_filelist}
      sentence_reordering: {filelist: data/reordering_filelist, classes: 9}
    stages:
      - steps: {knowledge_masking: 20000}
      - steps: {knowledge_masking: 10000, sentence_reordering: 30000}
        learning_rate: 5.0e-5
        warmup_steps: 4000

`filelist` is the list of files whose samples a task's updates are made of; `classes` is needed only where a task has
others than its own number; `learning_rate` and `warmup_steps` of a stage stand for those of the flags.
"""

import json
import os
import re
from collections import Counter
from typing import NamedTuple

import numpy as np

from ernie.optimization import learning_rate_schedule
from ernie.pretrain.tasks import TASKS
from propeller.errors import UserError, bad_input

_EXPONENT = re.compile(r'[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$')
ONLY = 'all'  # name of the stream of a training without a schedule


class Stage(NamedTuple):
    """steps: dict name of a stream -> number of updates. learning_rate, warmup_steps: None for those of the flags."""

    steps: dict
    learning_rate: float | None = None
    warmup_steps: int | None = None

    @property
    def total(self):
        """Updates of the stage."""
        return sum(self.steps.values())


class Schedule(NamedTuple):
    """What is trained when.

    Attributes:
        filelists: dict name of a stream -> its list of files. A stream has the name of a task, or is the only one.
        stages: list of `Stage`.
        classes: dict name of a task -> number of its classes, where it was given.
    """

    filelists: dict
    stages: list
    classes: dict

    @property
    def total(self):
        """Updates of all stages."""
        return sum(stage.total for stage in self.stages)

    def place(self, update):
        """(number of the stage, updates of it that were done) after so many updates; the last one at the end."""
        for number, stage in enumerate(self.stages):
            if update < stage.total or number + 1 == len(self.stages):
                return number, update
            update -= stage.total
        raise AssertionError('a schedule has a stage')

    def rate(self, scheduler, learning_rate, warmup_steps):
        """Function updates done -> rate: `learning_rate_schedule` anew in each stage; the arguments are defaults."""
        rates = [
            learning_rate_schedule(
                scheduler,
                learning_rate if stage.learning_rate is None else stage.learning_rate,
                warmup_steps if stage.warmup_steps is None else stage.warmup_steps,
                stage.total,
            )
            for stage in self.stages
        ]

        def rate(update):
            number, done = self.place(update)
            return rates[number](done)

        return rate


def order_of(stage):
    """Names of the streams in the order of the updates of a stage: each spread evenly over it.

    Returns:
        (list of names, int array [total]: which of them makes the update).
    """
    names = sorted(name for name, steps in stage.steps.items() if steps)
    moments = [(np.arange(stage.steps[name]) + 0.5) / stage.steps[name] for name in names]
    whose = np.repeat(np.arange(len(names)), [len(m) for m in moments])
    return names, whose[np.argsort(np.concatenate(moments), kind='stable')]


def single(filelist, steps):
    """The schedule of a training without a file: one stage, one stream."""
    return Schedule({ONLY: filelist}, [Stage({ONLY: steps})], {})


def read_schedule(path):
    """A `Schedule` from a file.

    Raises:
        UserError: the file cannot be read; an unknown task or setting, or a value that cannot be, with its place.
    """
    content = _load(path)
    _check_keys(path, 'the schedule', content, {'tasks': dict, 'stages': list})
    filelists, classes = {}, {}
    for name, settings in content['tasks'].items():
        if name not in TASKS:
            raise bad_input(path, f'the task {name!r}', f'one of {", ".join(TASKS)}')
        _check_keys(path, f'task {name}', settings, {'filelist': str}, {'classes': int})
        filelists[name] = settings['filelist']
        if 'classes' in settings:
            classes[name] = settings['classes']
    if not content['stages'] or not filelists:
        raise bad_input(path, f'{len(filelists)} tasks and {len(content["stages"])} stages', 'at least one of each')
    stages = [_stage(path, number, stage, filelists) for number, stage in enumerate(content['stages'], start=1)]
    return Schedule(filelists, stages, classes)


def _stage(path, number, settings, filelists):
    place = f'stage {number}'
    _check_keys(path, place, settings, {'steps': dict}, {'learning_rate': (int, float), 'warmup_steps': int})
    steps = settings['steps']
    for name, count in steps.items():
        if name not in filelists:
            raise bad_input(path, f'{place}: the task {name!r}', f'one of its tasks: {", ".join(filelists)}')
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise bad_input(path, f'{place}: {name} {count!r}', 'a number of updates from 0 on')
    if not sum(steps.values()):
        raise bad_input(path, f'{place} without updates', 'at least one')
    rate, warmup = settings.get('learning_rate'), settings.get('warmup_steps')
    if rate is not None and not 0 < rate < float('inf'):
        raise bad_input(path, f'{place}: learning_rate {rate!r}', 'a number above 0')
    if warmup is not None and warmup < 0:
        raise bad_input(path, f'{place}: warmup_steps {warmup!r}', 'a number from 0 on')
    return Stage(dict(steps), rate, warmup)


def _check_keys(path, place, found, needed, optional=None):
    """`found` is a mapping with the keys of `needed`, perhaps of `optional`, and no others, of the right types."""
    if not isinstance(found, dict):
        raise bad_input(path, f'{place} {found!r}', f'a mapping with {", ".join(needed)}')
    known = {**needed, **(optional or {})}
    for key in found:
        if key not in known:
            raise bad_input(path, f'{place}: {key!r}', f'one of {", ".join(known)}')
    for key in needed:
        if key not in found:
            raise bad_input(path, f'{place} without {key!r}', f'{", ".join(needed)}')
    for key, value in found.items():
        if not isinstance(value, known[key]) or isinstance(value, bool):
            kind = {dict: 'a mapping', list: 'a list', str: 'a text', int: 'a whole number'}.get(known[key], 'a number')
            raise bad_input(path, f'{place}: {key} {value!r}', kind)


def _load(path):
    """The content of a JSON or YAML file."""
    try:
        with open(path, encoding='utf-8') as f:
            text = f.read()
    except (OSError, UnicodeDecodeError) as e:
        raise bad_input(path, f'a file that cannot be read ({e})', 'a schedule in YAML or JSON') from None
    if not text.strip():
        raise bad_input(path, 'an empty file', 'a schedule in YAML or JSON')
    return (_json if os.path.splitext(path)[1] == '.json' else _yaml)(path, text)


def _json(path, text):
    def distinct(pairs):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twice:
            raise bad_input(path, f'{twice[0]!r} twice in one mapping', 'each name once')
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=distinct)
    except json.JSONDecodeError as e:
        raise bad_input(path, f'no JSON ({e.msg}, column {e.colno})', 'a schedule', e.lineno) from None


def _yaml(path, text):
    try:
        import yaml
    except ImportError:
        raise UserError(f'{path}: YAML needs the package pyyaml: pip install pyyaml. Or write it as .json.') from None

    class Loader(yaml.SafeLoader):
        """`5e-5` is a number, as in YAML 1.2. A name that comes twice in a mapping would silently lose a value."""

        def construct_mapping(self, node, deep=False):
            names = [key for key, _ in node.value if key.id == 'scalar'] if node.id == 'mapping' else []
            for i, key in enumerate(names):
                if key.value in {other.value for other in names[:i]}:
                    found, line = f'{key.value!r} twice in one mapping', key.start_mark.line + 1
                    raise bad_input(path, found, 'each name once', line)
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver('tag:yaml.org,2002:float', _EXPONENT, '-+.0123456789')
    try:
        return yaml.load(text, Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as e:
        line = e.problem_mark.line + 1 if e.problem_mark else None
        raise bad_input(path, f'no YAML ({e.problem})', 'a schedule', line) from None
    except UserError:
        raise
    except (yaml.YAMLError, ValueError) as e:  # ValueError: a date that is none
        raise bad_input(path, f'no YAML ({" ".join(str(e).split())})', 'a schedule') from None
