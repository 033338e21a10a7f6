"""The stream of pre-training batches: sample files read in a random order, shuffled, masked, cut into token batches.

Samples come in windows: about `buffer_size` of them in the order of the files. A window is shuffled, cut into batches
of like length (`propeller.data.batching.plan_steps`) and masked as a whole. All of that follows from the seed, the
epoch and the place of the window in the files, so that a position is a few numbers. Every process reads all windows,
which costs little, and builds its own share of every update: nothing comes twice, nothing is lost, all have the same
number of updates and rows of like length in the same one, and each knows how many labels the whole update has.
"""

import hashlib
import itertools
import json
import os
from typing import NamedTuple

import numpy as np

from ernie.pretrain.batches import PretrainBatch, build_arrays, label_counts
from ernie.pretrain.masking import Masked, Masking
from ernie.pretrain.negatives import make_negatives
from ernie.pretrain.sample_set import COLUMN, SampleSet, check_limits, concatenated, read_sets
from ernie.pretrain.samples import MASKED
from propeller.data.batching import Part, plan_steps
from propeller.errors import QUOTED, UsageError, UserError, bad_input, one_line, quoted
from propeller.inputs import sampled_digest
from propeller.log import get_logger

log = get_logger(__name__)

MOST_COUNTED = 1 << 25  # tokens that are read to count updates: a quarter of a minute
WINDOW_UPDATES = 32  # the last update of a window is smaller than the others: most windows have this many
MASKED_AT_ONCE = 1 << 17  # tokens: what masking needs for itself stays in the processor's cache
MASK_WORD, MASK_CHAR = 'mask_word', 'mask_char'
_ORDER, _MASK_TYPE, _PLAN, _MASKS, _NEGATIVES = range(1, 6)


class _Place(NamedTuple):
    """Where a window starts: number in the order of the epoch's files, and lines of that file that are behind."""

    epoch: int
    file: int
    line: int


class _Window(NamedTuple):
    """start, end: `_Place`s. samples: `SampleSet`. misses, positives: of negative samples, up to the end."""

    start: _Place
    end: _Place
    samples: SampleSet
    misses: int
    positives: int


class PretrainStream:
    """Batches of the files of a list, epoch after epoch, from any position on.

    Iterating does not move the stream: each `iter()` starts at the position last sought (at first the beginning).

    Args:
        files: list of `file_list.ListedFile`.
        tasks: list of `PretrainTask`. Samples without a label of any of them are left out.
        ids: `masking.VocabularyIds`.
        limits: `sample_set.Limits` of the model.
        settings: `ReaderSettings`.
        masking: `Masking`.
        epochs: number of passes; None is without end.
        replica_id, num_replicas: which of the cooperating processes asks, and how many they are.
        accumulation: parts of an update that one process computes one after the other.

    Raises:
        UsageError: a setting cannot be.
    """

    def __init__(
        self,
        files,
        tasks,
        ids,
        limits,
        settings,
        masking=None,
        *,
        epochs=1,
        replica_id=0,
        num_replicas=1,
        accumulation=1,
    ):
        settings.check()
        self.masking = masking or Masking()
        self.masking.check()
        if settings.max_seq_len > limits.positions:
            expected = f'at most {limits.positions}, the positions of the model'
            raise UsageError(f'found max_seq_len {settings.max_seq_len}, expected {expected}.')
        if not 0 <= replica_id < num_replicas:
            raise ValueError(f'replica_id {replica_id} must be in 0 .. {num_replicas - 1}')
        self.files, self.tasks, self.ids, self.limits, self.settings = files, tasks, ids, limits, settings
        self.epochs = epochs
        self._replica_id, self._num_replicas = replica_id, num_replicas
        self._parts = num_replicas * accumulation
        self._names = [file.path for file in files]
        self._start, self._skip, self._counted = _Place(0, 0, 0), 0, (0, 0)
        self._told = set()
        self._fingerprint, self._old_fingerprint = _fingerprints(files)
        self._made_with = {  # all that decides the batches besides the place
            'files': self._fingerprint,
            'tasks': ' '.join(task.name for task in tasks),
            'parts': self._parts,
            **settings._asdict(),
            **{f'masking.{name}': value for name, value in self.masking._asdict().items()},
        }

    # -------------------------------------------------------------------------------------------------- positions

    def _position(self, place, step, counted):
        misses, positives = counted
        return {**place._asdict(), 'step': step, 'misses': misses, 'positives': positives, **self._made_with}

    @property
    def position(self):
        """Where the next `iter()` starts."""
        return self._position(self._start, self._skip, self._counted)

    def seek(self, position):
        """Lets the next `iter()` start at a position that a batch of an equally made stream carried.

        Raises:
            UserError: the position belongs to other files or other settings; names them, with both values.
        """
        for name, value in self._made_with.items():
            if name == 'files' and position.get(name) == self._old_fingerprint:
                continue
            if position.get(name) != value:
                found, expected = f'{name} {one_line(position.get(name), QUOTED)}', f'{name} {value}'
                if name == 'files':
                    found, expected = 'files of other names, sizes, contents or probabilities', 'those of the list'
                raise UserError(f'found a data position made with {found}, expected {expected}.')
        numbers = [position.get(name) for name in (*_Place._fields, 'step', 'misses', 'positives')]
        if any(type(number) is not int or number < 0 for number in numbers) or numbers[1] > len(self.files):
            raise UserError(f'found a data position {quoted(numbers)}, expected the numbers of a place in the files.')
        self._start, self._skip, self._counted = _Place(*numbers[:3]), numbers[3], tuple(numbers[4:])

    def steps_of_run(self, most):
        """Number of updates of all epochs, at most `most`, from reading the files as they will be read.

        Returns:
            int; None where neither the end nor `most` comes within `MOST_COUNTED` tokens.
        """
        steps = tokens = 0
        if not most:
            return 0
        for epoch in itertools.count() if self.epochs is None else range(self.epochs):
            before = steps
            for window in self._windows(_Place(epoch, 0, 0), (0, 0)):
                steps, tokens = steps + len(self._plan(window)), tokens + int(window.samples.offsets[-1])
                if steps >= most:
                    return most
                if tokens > MOST_COUNTED:
                    return None
            if steps == before:
                break  # the first batch tells what is wrong
        return steps

    # -------------------------------------------------------------------------------------------------- iteration

    def __iter__(self):
        place, skip, counted = self._start, self._skip, self._counted
        while self.epochs is None or place.epoch < self.epochs:
            empty = place == _Place(place.epoch, 0, 0)
            for window in self._windows(place, counted):
                empty = False
                yield from self._batches(window, skip, counted)
                skip, counted = 0, (window.misses, window.positives)
                del window
            if empty:
                names = ', '.join(task.name for task in self.tasks)
                expected = f'samples of at most {self.settings.max_seq_len} tokens with a label of {names}'
                raise bad_input(self.files[0].path, 'no sample that can be used in it and the other files', expected)
            self._tell_misses(*counted)
            place, skip, counted = _Place(place.epoch + 1, 0, 0), 0, (0, 0)

    def _rng(self, purpose, *place):
        return np.random.default_rng([purpose, self.settings.seed, *place])

    def _order(self, epoch):
        """Numbers of the files in the order of an epoch."""
        if not self.settings.shuffle:
            return np.arange(len(self.files))
        return self._rng(_ORDER, epoch).permutation(len(self.files))

    def _masks_words(self, epoch, file):
        """Whether whole units are masked in a file: one draw for each file in each epoch."""
        return self._rng(_MASK_TYPE, epoch, file).random() < self.files[file].word_probability

    # ---------------------------------------------------------------------------------------------------- windows

    def _windows(self, place, counted):
        """The `_Window`s of an epoch from a place on."""
        start, held, rows, tokens = place, [], 0, 0
        for number, block in self._blocks(place):
            while block.count:
                taken = self._room(block, rows, tokens)
                part = block.part(0, taken if taken else block.count)
                held.append(part)
                rows, tokens = rows + part.count, tokens + int(part.offsets[-1])
                block = block.part(part.count, block.count)
                if taken:
                    end = _Place(place.epoch, number, int(part.lines[-1]))
                    window = self._window(start, end, held, counted)
                    start, held, rows, tokens, counted = end, [], 0, 0, (window.misses, window.positives)
                    yield window
                    del window  # one is large enough in memory
        if held:
            yield self._window(start, _Place(place.epoch, len(self.files), 0), held, counted)

    def _room(self, block, rows, tokens):
        """How many samples of a block fill the window; 0 if it is not full then either."""
        least_tokens = WINDOW_UPDATES * self._parts * self.settings.batch_size
        by_tokens = int(np.searchsorted(block.offsets[1:], least_tokens - tokens)) + 1
        needed = max(self.settings.buffer_size - rows, by_tokens)
        return needed if needed <= block.count else 0

    def _blocks(self, place):
        """(number in the order of the epoch, `SampleSet` of samples that can be used) from a place on."""
        order = self._order(place.epoch)
        for number in range(place.file, len(order)):
            file = int(order[number])
            path = self._names[file]
            too_long = unlabelled = 0
            for block in read_sets(path, file, place.line if number == place.file else 0):
                long = block.lengths > self.settings.max_seq_len
                labelled = (block.labels[:, [COLUMN[task.name] for task in self.tasks]] >= 0).any(axis=1)
                too_long, unlabelled = too_long + int(long.sum()), unlabelled + int((~long & ~labelled).sum())
                usable = ~long & labelled
                if not usable.all():
                    block = block.take(np.flatnonzero(usable))
                check_limits(block, self.limits, self.tasks, path)
                yield number, block
            self._tell_skipped(file, too_long, unlabelled)

    def _tell_skipped(self, file, too_long, unlabelled):
        """Once for each file."""
        if file in self._told:
            return
        self._told.add(file)
        path = self._names[file]
        if too_long:
            most = self.settings.max_seq_len
            log.warning('%s: skipped %d samples of more than %d tokens (max_seq_len)', path, too_long, most)
        if unlabelled:
            names = ', '.join(task.name for task in self.tasks)
            log.warning('%s: skipped %d samples without a label of %s', path, unlabelled, names)

    def _window(self, start, end, held, counted):
        samples, (misses, positives) = concatenated(held), counted
        if self.settings.generate_neg_sample:
            rng = self._rng(_NEGATIVES, *start)
            negatives, missed = make_negatives(samples, self.settings.max_seq_len, self.ids, rng, self._names)
            misses, positives = misses + missed, positives + samples.count
            samples = concatenated([samples, negatives])
        return _Window(start, end, samples, misses, positives)

    def _tell_misses(self, misses, positives):
        """The line of 2019."""
        if self.settings.generate_neg_sample:
            ideal = 2 * positives
            log.debug('miss_num:%d\tideal_total_sample_num:%d\tmiss_rate:%f', misses, ideal, misses / max(ideal, 1))

    # ---------------------------------------------------------------------------------------------------- batches

    def _plan(self, window):
        """The updates of a window, see `plan_steps`."""
        settings = self.settings
        return plan_steps(
            window.samples.lengths,
            settings.batch_size,
            self._parts,
            in_tokens=True,
            window=settings.length_window if settings.shuffle else 0,
            shuffle=settings.shuffle,
            rng=self._rng(_PLAN, *window.start),
        )

    def _batches(self, window, skip, counted):
        """The `PretrainBatch`es of a window from update number `skip` on. counted: misses and positives before it."""
        samples, epoch = window.samples, window.start.epoch
        words = {int(file): self._masks_words(epoch, int(file)) for file in np.unique(samples.files)}
        masked = self._mask(window, words)
        counts = label_counts(samples, masked, self.tasks)
        plan = self._plan(window)
        place_of = np.argsort(self._order(epoch))
        for index in range(skip, len(plan)):
            step = plan[index]
            next_place = (window.start, index + 1, counted)
            if index + 1 == len(plan):
                next_place = (window.end, 0, (window.misses, window.positives))
            own = step[self._replica_id :: self._num_replicas]
            parts = [self._part(samples, masked, rows if len(rows) else step[0][:1], len(rows) > 0) for rows in own]
            file = int(np.bincount(np.concatenate([part.rows[:, 0] for part in parts])).argmax())
            lengths = [samples.lengths[rows] for rows in own if len(rows)]
            yield PretrainBatch(
                parts=parts,
                step_rows=sum(map(len, step)),
                counted_parts=sum(len(rows) > 0 for rows in step),
                label_counts=self._label_counts(counts, step),
                epoch=epoch + 1,
                progress=(int(place_of[file]) + 1, len(self.files)),
                file=self._names[file],
                mask_type=MASK_WORD if words[file] else MASK_CHAR,
                position=self._position(*next_place),
                real_tokens=int(sum(part.sum() for part in lengths)),
                fed_tokens=int(sum(len(part) * part.max() for part in lengths)),
            )

    def _mask(self, window, words):
        """`Masked` for the samples of a window; words: dict number of a file -> whether whole units are masked."""
        samples, chosen = window.samples, any(task.name == MASKED for task in self.tasks)
        lookup = np.zeros(len(self.files), bool)
        lookup[list(words)] = list(words.values())
        masked_rows = (samples.labels[:, COLUMN[MASKED]] >= 0) & chosen
        rng = self._rng(_MASKS, *window.start)
        pieces = []
        bounds = np.unique(np.searchsorted(samples.offsets, np.arange(0, samples.offsets[-1], MASKED_AT_ONCE)))
        for first, last in itertools.pairwise([*bounds.tolist(), samples.count]):
            part, rows = samples.part(first, last), slice(first, last)
            arrays = part.token_ids, part.segments, part.offsets, lookup[part.files], masked_rows[rows]
            pieces.append(self.masking(*arrays, self.ids, rng))
        return Masked(*(np.concatenate(arrays) for arrays in zip(*pieces, strict=True)))

    def _label_counts(self, counts, step):
        totals = counts[np.concatenate(step)].sum(axis=0)
        return {task.name: int(total) for task, total in zip(self.tasks, totals, strict=True)}

    def _part(self, samples, masked, rows, counted):
        arrays = build_arrays(samples, masked, rows, self.tasks, self.ids.pad)
        return Part(arrays, np.stack([samples.files[rows], samples.lines[rows]], axis=1).astype(np.int64), counted)


def _fingerprints(files):
    """Of names without folders, sizes, probabilities and contents of the files, in their order; and as it was when
    contents did not count, which older checkpoints hold.
    """
    try:
        facts = [[os.path.basename(path), os.path.getsize(path), probability] for path, probability in files]
    except OSError as e:
        raise bad_input(e.filename, f'a file that cannot be read ({e.strerror})', 'a file of samples') from None
    contents = [sampled_digest(file.path, fact[1]) for file, fact in zip(files, facts, strict=True)]
    return [hashlib.sha256(json.dumps(of).encode()).hexdigest()[:16] for of in ([facts, contents], facts)]
