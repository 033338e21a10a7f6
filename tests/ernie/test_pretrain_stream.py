import itertools
import json

import numpy as np
import pytest

from ernie.pretrain.file_list import ListedFile
from ernie.pretrain.masking import Masking
from ernie.pretrain.samples import Sample
from propeller.errors import UsageError, UserError
from tests.ernie.pretrain_files import (
    IDS,
    SMALL,
    TASKS,
    flat,
    random_sample,
    rows_of,
    stream,
    write_files,
    write_samples,
)

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
