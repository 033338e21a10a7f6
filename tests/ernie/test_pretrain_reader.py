import itertools
import json

import numpy as np
import pytest

from ernie.pretrain.file_list import ListedFile
from ernie.pretrain.masking import Masking
from ernie.pretrain.reader import PretrainStream, ReaderSettings
from ernie.pretrain.samples import Sample
from ernie.pretrain.tasks import make_tasks
from propeller.errors import UsageError, UserError
from tests.ernie.pretrain_files import IDS, LIMITS, random_sample, write_samples

TASKS = ['knowledge_masking', 'capitalization', 'sentence_distance', 'next_sentence']
SMALL = ReaderSettings(batch_size=150, max_seq_len=40, seed=7, buffer_size=30, length_window=3)


def mixed_sample(rng, i):
    """Of ERNIE 1.0, or with labels of other tasks, with a capital label for some tokens."""
    sample = random_sample(rng)
    length = len(sample.token_ids)
    if i % 3 == 1:
        labels = {'capitalization': rng.integers(-1, 2, length), 'sentence_distance': int(rng.integers(3))}
        return sample._replace(labels=labels, task_id=4)
    if i % 3 == 2:
        labels = {'capitalization': rng.integers(-1, 2, length), 'knowledge_masking': None}
        return sample._replace(labels=labels, task_id=1)
    return sample


def write_files(folder, counts, seed=1, probabilities=(1.1, 0.5, 0.0)):
    """Files of so many samples: (list of `ListedFile`, list of lists of `Sample`)."""
    rng = np.random.default_rng(seed)
    samples = [[mixed_sample(rng, i) for i in range(count)] for count in counts]
    names = [write_samples(folder / f'{i}.gz', each) for i, each in enumerate(samples)]
    return [ListedFile(name, p) for name, p in zip(names, itertools.cycle(probabilities), strict=False)], samples


def stream(files, tasks=TASKS, settings=SMALL, masking=None, **others):
    return PretrainStream(files, make_tasks(tasks), IDS, LIMITS, settings, masking, **others)


def flat(value):
    """All arrays and numbers in a batch, to be compared."""
    if isinstance(value, dict):
        return [x for key in sorted(value) for x in (key, *flat(value[key]))]
    if isinstance(value, (list, tuple)):
        return [x for each in value for x in flat(each)]
    return [(value.dtype.str, value.shape, value.tobytes())] if isinstance(value, np.ndarray) else [value]


def rows_of(batches, counted_only=True):
    """[(file, line)] of all samples in the order of the batches."""
    parts = [part for batch in batches for part in batch.parts if part.counted or not counted_only]
    return [tuple(row) for part in parts for row in part.rows.tolist()]


# -------------------------------------------------------------------------------------------------- what is in a batch


def check_row(arrays, row, sample, width):
    """A row of the arrays against its sample, token by token, the masks left out."""
    length = len(sample.token_ids)
    assert arrays.input_mask[row].tolist() == [1.0] * length + [0.0] * (width - length)
    assert arrays.sentence_types[row].tolist() == sample.sentence_types.tolist() + [0] * (width - length)
    assert arrays.positions[row].tolist() == sample.positions.tolist() + [0] * (width - length)
    assert arrays.task_ids[row].tolist() == [sample.task_id] * width
    original = arrays.token_ids[row].copy()
    labels, places = arrays.labels['knowledge_masking']
    mine = places // width == row
    assert 'knowledge_masking' in sample.labels or not mine.any()
    original[places[mine] % width] = labels[mine]
    assert original.tolist() == sample.token_ids.tolist() + [IDS.pad] * (width - length)
    labels, places = arrays.labels['capitalization']
    mine = places // width == row
    found = dict(zip((places[mine] % width).tolist(), labels[mine].tolist(), strict=True))
    capital = sample.labels.get('capitalization', [])
    assert found == {place: label for place, label in enumerate(capital) if label >= 0}
    for name in ('sentence_distance', 'next_sentence'):
        assert arrays.labels[name][row] == sample.labels.get(name, -1)


@pytest.mark.parametrize('shuffle', [True, False])
def test_a_batch_holds_its_samples(tmp_path, shuffle):
    files, samples = write_files(tmp_path, [25, 40])
    batches = list(stream(files, settings=SMALL._replace(shuffle=shuffle)))
    for batch in batches:
        (part,) = batch.parts
        arrays = part.arrays
        height, width = arrays.token_ids.shape
        assert height * width <= SMALL.batch_size
        assert batch.step_rows == height == len(part.rows)
        assert batch.real_tokens == arrays.input_mask.sum()
        assert batch.fed_tokens == height * width
        assert batch.counted_parts == 1
        assert batch.label_counts['sentence_distance'] == (arrays.labels['sentence_distance'] >= 0).sum()
        assert batch.label_counts['next_sentence'] == (arrays.labels['next_sentence'] >= 0).sum()
        for name in ('knowledge_masking', 'capitalization'):
            labels, places = arrays.labels[name]
            assert batch.label_counts[name] == len(labels) == len(places) == len(set(places.tolist()))
            assert labels.dtype == places.dtype == np.int64
        for row, (file, line) in enumerate(part.rows):
            check_row(arrays, row, samples[file][line - 1], width)
        dtypes = [array.dtype.name for array in arrays[:5]]
        assert dtypes == ['int64'] * 4 + ['float32']
    assert sorted(rows_of(batches)) == [(f, n + 1) for f in range(2) for n in range(len(samples[f]))]


def test_inputs_are_those_of_the_graph(tmp_path):
    files, _ = write_files(tmp_path, [30])
    tasks = make_tasks(TASKS)
    for batch in stream(files, masking=Masking(masking_rate=1e-9)):
        arrays = batch.parts[0].arrays
        inputs = arrays.inputs(tasks, use_task_id=True)
        names = ['token_ids', 'sentence_types', 'positions', 'input_mask', 'task_ids']
        assert all(np.array_equal(a, getattr(arrays, name)) for a, name in zip(inputs, names, strict=False))
        # In the order of the ids: knowledge_masking 0, capitalization 1, sentence_distance 4, next_sentence 7.
        assert [inputs[5].tolist(), inputs[6].tolist()] == [[-1], [0]]
        assert np.array_equal(inputs[-1], arrays.labels['next_sentence'])
        assert np.array_equal(inputs[-2], arrays.labels['sentence_distance'])
        assert len(inputs) == 5 + 2 + 2 + 1 + 1
        assert len(arrays.inputs(tasks, use_task_id=False)) == len(inputs) - 1


def test_only_chosen_tasks_are_read(tmp_path, logged):
    files, samples = write_files(tmp_path, [30])
    batches = list(stream(files, ['next_sentence']))
    assert sorted(rows_of(batches)) == [(0, n + 1) for n in range(30) if 'next_sentence' in samples[0][n].labels]
    assert [m for m in logged if 'without a label of next_sentence' in m] == [
        f'{files[0].path}: skipped 20 samples without a label of next_sentence'
    ]
    for batch in batches:
        assert set(batch.parts[0].arrays.labels) == {'next_sentence'}
        for row, (_, line) in enumerate(batch.parts[0].rows):
            ids = batch.parts[0].arrays.token_ids[row]
            expected = samples[0][line - 1].token_ids
            assert ids[: len(expected)].tolist() == expected.tolist()


def test_long_samples_are_skipped_and_told_once(tmp_path, logged):
    files, samples = write_files(tmp_path, [50, 20])
    settings = SMALL._replace(max_seq_len=20)
    batches = list(stream(files, settings=settings, epochs=3))
    short = [(f, n + 1) for f in range(2) for n, s in enumerate(samples[f]) if len(s.token_ids) <= 20]
    assert sorted(rows_of(batches)) == sorted(short * 3)
    long = [sum(len(s.token_ids) > 20 for s in each) for each in samples]
    told = sorted(m for m in logged if 'max_seq_len' in m)
    assert told == [
        f'{file.path}: skipped {count} samples of more than 20 tokens (max_seq_len)'
        for file, count in zip(files, long, strict=True)
    ]


def test_no_sample_at_all(tmp_path):
    files, _ = write_files(tmp_path, [20, 10])
    for epochs in (1, None):
        with pytest.raises(UserError, match='no sample that can be used'):
            list(stream(files, ['ir_relevance'], epochs=epochs))


# --------------------------------------------------------------------------------------------------------- mask types


def test_mask_types_of_files(tmp_path):
    """Word masks for probability 1.1, token masks for 0, one or the other for 0.5; one per file and epoch."""
    rng = np.random.default_rng(2)
    samples = [random_sample(rng) for _ in range(12)]
    files = [ListedFile(write_samples(tmp_path / f'{i}.gz', samples), p) for i, p in enumerate([1.1, 0.0, 0.5])]
    masking, seen = Masking(masking_rate=0.5), {}
    for batch in stream(
        files, ['knowledge_masking'], SMALL._replace(buffer_size=1, batch_size=100), masking, epochs=20
    ):
        arrays = batch.parts[0].arrays
        width = arrays.token_ids.shape[1]
        selected = np.zeros(arrays.token_ids.size, bool)
        selected[arrays.labels['knowledge_masking'][1]] = True
        for row, (file, line) in enumerate(batch.parts[0].rows):
            segments = samples[line - 1].segments
            chosen = selected.reshape(-1, width)[row, : len(segments)]
            inside = np.flatnonzero(segments == 1)
            seen.setdefault((batch.epoch, int(file)), []).append((chosen[inside] == chosen[inside - 1]).all())
        assert batch.mask_type in ('mask_word', 'mask_char')
    assert all(all(seen[epoch, 0]) for epoch in range(1, 21))
    assert not any(all(seen[epoch, 1]) for epoch in range(1, 21))
    by_word = sum(all(seen[epoch, 2]) for epoch in range(1, 21))
    assert 3 <= by_word <= 17


def test_the_log_line_tells_file_and_mask_type(tmp_path):
    files, _ = write_files(tmp_path, [60, 60, 60], probabilities=(1.1, 0.0))
    settings = SMALL._replace(buffer_size=1, batch_size=100)
    batches = list(stream(files, settings=settings, epochs=2))
    order = []
    for batch in batches:
        votes = [file for file, _ in batch.parts[0].rows.tolist()]
        file = max(set(votes), key=lambda f: (votes.count(f), -f))
        assert batch.file == files[file].path
        assert batch.mask_type == ('mask_char' if file == 1 else 'mask_word')
        order.append((batch.epoch, batch.progress, file))
    for epoch in (1, 2):
        seen = {progress: file for e, progress, file in order if e == epoch}
        assert sorted(seen) == [(1, 3), (2, 3), (3, 3)]
        assert sorted(seen.values()) == [0, 1, 2]


# -------------------------------------------------------------------------------------------------------------- order


def test_without_shuffling_samples_come_as_they_stand(tmp_path):
    files, samples = write_files(tmp_path, [33, 5, 20])
    settings = SMALL._replace(generate_neg_sample=True).in_order()
    first, second = (list(stream(files, settings=settings)) for _ in range(2))
    assert rows_of(first) == [(f, n + 1) for f in range(3) for n in range(len(samples[f]))]
    assert flat(first) == flat(second)


def test_orders_and_masks_differ_between_epochs_and_seeds(tmp_path):
    files, _ = write_files(tmp_path, [50, 50, 50, 50])
    by_epoch = [[batch for batch in stream(files, epochs=3) if batch.epoch == epoch] for epoch in (1, 2, 3)] + [
        list(stream(files, settings=SMALL._replace(seed=8)))
    ]
    orders = [rows_of(batches) for batches in by_epoch]
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert all(a != b for a, b in itertools.combinations(orders, 2))
    files_first = {order[0][0] for order in orders}
    assert len(files_first) > 1
    masks = [{(f, n): masked_of(batches)[f, n] for f, n in orders[0]} for batches in by_epoch]
    for a, b in itertools.combinations(masks, 2):
        assert sum(a[row] == b[row] for row in a) < len(a) * 0.5


def masked_of(batches):
    """dict (file, line) -> columns that were selected."""
    masks = {}
    for batch in batches:
        for part in batch.parts:
            width = part.arrays.token_ids.shape[1]
            places = part.arrays.labels['knowledge_masking'][1]
            for row, key in enumerate(map(tuple, part.rows.tolist())):
                masks[key] = tuple((places[places // width == row] % width).tolist())
    return masks


def test_windows_bound_what_is_mixed(tmp_path):
    """No sample comes before the window that it is in: the first updates are made of the first samples."""
    files, _ = write_files(tmp_path, [600])
    settings = SMALL._replace(batch_size=100, buffer_size=100)
    lines = [line for _, line in rows_of(stream(files, settings=settings))]
    tokens = 32 * 100  # updates of a window
    lengths = {}
    for batch in stream(files, settings=settings):
        for row, (_, line) in enumerate(batch.parts[0].rows):
            lengths[int(line)] = int(batch.parts[0].arrays.input_mask[row].sum())
    ends, rows, total = [], 0, 0
    for line in range(1, 601):
        rows, total = rows + 1, total + lengths[line]
        if rows >= 100 and total >= tokens:
            ends.append(line)
            rows = total = 0
    assert len(ends) >= 3
    for start, end in itertools.pairwise([0, *ends, 600]):
        assert sorted(lines[start:end]) == list(range(start + 1, end + 1))
        assert end - start < 10 or lines[start:end] != sorted(lines[start:end])


# ------------------------------------------------------------------------------------------------- several processes


@pytest.mark.parametrize('files_count', [1, 2, 3, 4, 5])
@pytest.mark.parametrize(('processes', 'accumulation'), [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2)])
def test_processes_share_everything_once(tmp_path, files_count, processes, accumulation):
    files, samples = write_files(tmp_path, [37, 4, 51, 1, 20][:files_count])
    shares = [
        list(stream(files, epochs=2, replica_id=i, num_replicas=processes, accumulation=accumulation))
        for i in range(processes)
    ]
    expected = [(f, n + 1) for f in range(files_count) for n in range(len(samples[f]))]
    for epoch in (1, 2):
        batches = [[batch for batch in share if batch.epoch == epoch] for share in shares]
        assert len(set(map(len, batches))) == 1
        assert sorted(row for share in batches for row in rows_of(share)) == expected
    for together in zip(*shares, strict=True):
        assert all(len(batch.parts) == accumulation for batch in together)
        assert len({json.dumps([batch.position, batch.label_counts, batch.step_rows]) for batch in together}) == 1
        counted = [part for batch in together for part in batch.parts if part.counted]
        assert together[0].counted_parts == len(counted)
        assert together[0].step_rows == sum(len(part.rows) for part in counted)
        for name in ('knowledge_masking', 'capitalization'):
            found = sum(len(part.arrays.labels[name][0]) for part in counted)
            assert found == together[0].label_counts[name]
        assert all(part.arrays.token_ids.size <= SMALL.batch_size for part in counted)


def test_an_update_does_not_depend_on_who_makes_it(tmp_path):
    """One process in two parts, and two processes: the same parts with the same masks."""
    files, _ = write_files(tmp_path, [60, 41])
    alone = list(stream(files, accumulation=2))
    pair = [list(stream(files, replica_id=i, num_replicas=2)) for i in range(2)]
    for one, first, second in zip(alone, *pair, strict=True):
        assert flat(one.parts) == flat(first.parts) + flat(second.parts)


# ------------------------------------------------------------------------------------------------------------- resume


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'accumulation': 2, 'num_replicas': 3, 'replica_id': 1},
        {'settings': SMALL._replace(shuffle=False)},
        {'settings': SMALL._replace(buffer_size=1, batch_size=100), 'masking': Masking(max_ngram=3, at_least_one=True)},
    ],
)
def test_the_stream_goes_on_from_every_batch(tmp_path, options):
    files, _ = write_files(tmp_path, [90, 7, 65])
    batches = list(stream(files, epochs=2, **options))
    assert len(batches) >= 10
    whole = [flat(batch) for batch in batches]
    resumed = stream(files, epochs=2, **options)
    for i in range(len(batches)):
        position = json.loads(json.dumps(batches[i].position))
        resumed.seek(position)
        assert resumed.position == position
        following = list(itertools.islice(resumed, 2)) if i % 5 else list(resumed)
        assert [flat(batch) for batch in following] == whole[i + 1 : i + 1 + len(following)]
        assert len(following) == min(2 if i % 5 else len(batches), len(batches) - i - 1)


def test_iterating_does_not_move_the_stream(tmp_path):
    files, _ = write_files(tmp_path, [30])
    one = stream(files)
    first, second = (flat(list(one)) for _ in range(2))
    assert first == second
    start = one.position
    one.seek(next(iter(one)).position)
    one.seek(start)
    assert flat(list(one)) == first


def test_a_stream_without_end_passes_epochs(tmp_path):
    files, _ = write_files(tmp_path, [20])
    batches = list(itertools.islice(stream(files, epochs=None), 40))
    assert [batch.epoch for batch in batches] == sorted(batch.epoch for batch in batches)
    assert batches[-1].epoch > 3


def test_positions_of_other_files_or_settings(tmp_path):
    files, _ = write_files(tmp_path, [30, 20])
    position = next(iter(stream(files))).position
    others = [
        ('files', stream(files[:1])),
        ('files', stream([files[0]._replace(word_probability=0.3), files[1]])),
        ('tasks', stream(files, TASKS[:2])),
        ('parts', stream(files, num_replicas=2)),
        ('seed', stream(files, settings=SMALL._replace(seed=3))),
        ('masking.mask', stream(files, masking=Masking(mask=0.9, keep=0.0))),
    ]
    for name, other in others:
        with pytest.raises(UserError, match=f'made with {name} '):
            other.seek(position)
    for change in ({'line': -1}, {'file': 3}, {'step': 'x'}, {'epoch': None}):
        with pytest.raises(UserError, match='expected the numbers of a place'):
            stream(files).seek({**position, **change})
    moved = tmp_path / 'moved'
    moved.mkdir()
    again, _ = write_files(moved, [30, 20])
    stream(again).seek(position)


# ---------------------------------------------------------------------------------------------------------- negatives


def positive_files(folder, counts):
    """Positive samples, the last of each file of one part that is too long for a left one."""
    rng = np.random.default_rng(5)
    labels = {'knowledge_masking': None, 'next_sentence': 1}
    files = []
    for i, count in enumerate(counts):
        samples = [random_sample(rng, **labels) for _ in range(count)]
        ids = np.array([IDS.cls, *[9] * 25, IDS.sep])
        segments = np.array([-1, *[0] * 25, -1])
        samples[-1] = Sample(ids, np.zeros(27, int), np.arange(27), segments, 0, labels)
        files.append(ListedFile(write_samples(folder / f'{i}.gz', samples), 1.1))
    return files


def test_negatives_are_mixed_with_positives(tmp_path, logged):
    files = positive_files(tmp_path, [41, 30])
    settings = SMALL._replace(generate_neg_sample=True, max_seq_len=30)
    tasks = ['knowledge_masking', 'next_sentence']
    batches = list(stream(files, tasks, settings, epochs=2))
    labels = np.concatenate([b.parts[0].arrays.labels['next_sentence'] for b in batches if b.epoch == 1])
    positive, negative = (labels == 1).sum(), (labels == 0).sum()
    assert positive - 4 <= negative <= positive - 2
    assert abs(np.mean(np.flatnonzero(labels == 0)) / len(labels) - 0.5) < 0.15
    misses = positive - negative
    lines = [m for m in logged if 'miss_num' in m]
    assert lines[0] == f'miss_num:{misses}\tideal_total_sample_num:{2 * positive}\tmiss_rate:{misses / positive / 2:f}'
    assert len(lines) == 2
    resumed = stream(files, tasks, settings, epochs=2)
    for i in range(0, len(batches), 3):
        resumed.seek(batches[i].position)
        assert flat(list(resumed)) == flat(batches[i + 1 :])
    assert all(m in lines for m in logged if 'miss_num' in m)


# ------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'batch_size': 99}, 'batch_size 99, expected 100 or more: it counts tokens'),
        ({'max_seq_len': 2}, 'max_seq_len 2'),
        ({'max_seq_len': 61}, 'max_seq_len 61, expected at most 60, the positions of the model'),
        ({'seed': -1}, 'seed -1'),
        ({'buffer_size': 0}, 'buffer_size 0'),
    ],
)
def test_settings_that_cannot_be(tmp_path, change, text):
    files, _ = write_files(tmp_path, [2])
    with pytest.raises(UsageError, match=text):
        stream(files, settings=SMALL._replace(**change))


def test_a_bad_sample_ends_the_stream_with_its_line(tmp_path):
    files, samples = write_files(tmp_path, [30, 20])
    samples[1][13].token_ids[3] = 97
    write_samples(files[1].path, samples[1])
    with pytest.raises(UserError, match=r'1\.gz:14: found the token id 97, expected one below 97'):
        list(stream(files))
    with pytest.raises(UserError, match=r'9\.gz: found a file that cannot be read'):
        stream([files[0]._replace(path=str(tmp_path / '9.gz'))])
