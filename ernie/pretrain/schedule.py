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

import heapq
import os
from typing import NamedTuple

from ernie.optimization import describe_schedule, learning_rate_schedule
from ernie.pretrain.tasks import TASKS, make_tasks
from propeller.args import split_list
from propeller.errors import UsageError, bad_input, did_you_mean, quoted
from propeller.inputs import read_json, read_yaml
from propeller.log import get_logger

log = get_logger(__name__)

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
        end: updates of the run where the data end before the stages do; None where they do not.
    """

    filelists: dict
    stages: list
    classes: dict
    end: int | None = None

    @property
    def total(self):
        """Updates of the run."""
        planned = sum(stage.total for stage in self.stages)
        return planned if self.end is None else min(planned, self.end)

    def place(self, update):
        """(number of the stage, updates of it that were done) after so many updates; the last one at the end."""
        for number, stage in enumerate(self.stages):
            if update < stage.total or number + 1 == len(self.stages):
                return number, update
            update -= stage.total
        raise AssertionError('a schedule has a stage')

    def settings(self, scheduler, learning_rate, warmup_steps):
        """Of each stage that the run comes to, what `learning_rate_schedule` takes; the arguments are defaults."""
        found, left = [], self.total
        for stage in self.stages:
            if left > 0:
                rate = learning_rate if stage.learning_rate is None else stage.learning_rate
                warmup = warmup_steps if stage.warmup_steps is None else stage.warmup_steps
                found.append((scheduler, rate, warmup, min(stage.total, left)))
            left -= stage.total
        return found

    def rate(self, scheduler, learning_rate, warmup_steps):
        """Function updates done -> rate: `learning_rate_schedule` anew in each stage; the arguments are defaults."""
        rates = [
            learning_rate_schedule(*settings) for settings in self.settings(scheduler, learning_rate, warmup_steps)
        ]

        def rate(update):
            number, done = self.place(update)
            return rates[min(number, len(rates) - 1)](done)

        return rate

    def lines(self, scheduler, learning_rate, warmup_steps):
        """A line of text for each stage: its updates, and what the rate does in it, by the steps of the stage."""
        found = []
        for number, settings in enumerate(self.settings(scheduler, learning_rate, warmup_steps), start=1):
            stage, (*_, steps) = self.stages[number - 1], settings
            shares = ', '.join(f'{name} {count}' for name, count in stage.steps.items() if count and name != ONLY)
            cut = f' of {stage.total}' if steps < stage.total else ''
            what = describe_schedule(*settings, hint='a warm-up of 1 step')
            found.append(f'stage {number}: {steps}{cut} updates{shares and f" ({shares})"}, {what}')
        return found


def turns(stage, begun=0):
    """Yields the names of the streams in the order of the updates of a stage, each spread evenly over it.

    Update `i` of a stream with `n` of them has the moment (i + 0.5) / n; of equal ones the first by name comes first.

    Args:
        stage: `Stage`.
        begun: updates to leave out at its start. They cost no time, and a stage of any length no memory.
    """
    steps = sorted((name, count) for name, count in stage.steps.items() if count)
    # So many updates of each stream are among the first `begun` for certain: moments are rounded to one update each.
    done = [max(begun * count // stage.total - len(steps) - 1, 0) for _, count in steps]
    moment = lambda stream: ((done[stream] + 0.5) / steps[stream][1], stream)  # noqa: E731
    waiting = [moment(stream) for stream in range(len(steps)) if done[stream] < steps[stream][1]]
    heapq.heapify(waiting)
    for update in range(sum(done), stage.total):
        stream = waiting[0][1]
        done[stream] += 1
        if done[stream] < steps[stream][1]:
            heapq.heapreplace(waiting, moment(stream))
        else:
            heapq.heappop(waiting)
        if update >= begun:
            yield steps[stream][0]


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
            near = did_you_mean(str(name), TASKS).strip()
            raise bad_input(path, f'the task {quoted(name)}', f'one of {", ".join(TASKS)}', advice=near)
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
            raise bad_input(path, f'{place}: the task {quoted(name)}', f'one of its tasks: {", ".join(filelists)}')
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise bad_input(path, f'{place}: {name} {quoted(count)}', 'a number of updates from 0 on')
    if not sum(steps.values()):
        raise bad_input(path, f'{place} without updates', 'at least one')
    rate, warmup = settings.get('learning_rate'), settings.get('warmup_steps')
    if rate is not None and not 0 < rate < float('inf'):
        raise bad_input(path, f'{place}: learning_rate {quoted(rate)}', 'a number above 0')
    if warmup is not None and warmup < 0:
        raise bad_input(path, f'{place}: warmup_steps {quoted(warmup)}', 'a number from 0 on')
    return Stage(dict(steps), rate, warmup)


def _check_keys(path, place, found, needed, optional=None):
    """`found` is a mapping with the keys of `needed`, perhaps of `optional`, and no others, of the right types."""
    if not isinstance(found, dict):
        raise bad_input(path, f'{place} {quoted(found)}', f'a mapping with {", ".join(needed)}')
    known = {**needed, **(optional or {})}
    for key in found:
        if key not in known:
            raise bad_input(
                path,
                f'{place}: {quoted(key)}',
                f'one of {", ".join(known)}',
                advice=did_you_mean(str(key), known).strip(),
            )
    for key in needed:
        if key not in found:
            raise bad_input(path, f'{place} without {quoted(key)}', f'{", ".join(needed)}')
    for key, value in found.items():
        if not isinstance(value, known[key]) or isinstance(value, bool):
            kind = {dict: 'a mapping', list: 'a list', str: 'a text', int: 'a whole number'}.get(known[key], 'a number')
            raise bad_input(path, f'{place}: {key} {quoted(value)}', kind)


def _load(path):
    """The content of a JSON or YAML file."""
    read = read_json if os.path.splitext(path)[1] == '.json' else read_yaml
    return read(path, 'a schedule in YAML or JSON')


def schedule_of(args):
    """The `Schedule` of the flags: that of a file, or one stage of --num_train_steps updates."""
    if args.schedule:
        schedule = read_schedule(args.schedule)
        idle = [name for name in schedule.filelists if not any(stage.steps.get(name) for stage in schedule.stages)]
        if idle:
            log.warning('%s: no stage has updates for %s', args.schedule, ', '.join(idle))
        return schedule
    return single(args.train_filelist or args.test_filelist, args.num_train_steps)


def tasks_of(args, schedule):
    """The tasks whose heads the program has, in the order of their ids.

    Those of --tasks; with --schedule its own.
    """
    names = list(schedule.filelists) if args.schedule else split_list(args.tasks)
    if not names:
        raise UsageError('--tasks is empty: expected names of pre-training tasks, joined by commas.')
    return make_tasks(names, schedule.classes)
