import os
from types import SimpleNamespace

import numpy as np
import pytest

from ernie.pretrain.file_list import ListedFile
from ernie.pretrain.masking import Masking, VocabularyIds
from ernie.pretrain.reader import PretrainStream
from ernie.pretrain.reader_settings import ReaderSettings
from ernie.pretrain.sample_set import Limits
from ernie.pretrain.tasks import make_tasks
from propeller.errors import UserError
from tests.ernie.pretrain_files import IDS, SMALL, TASKS, random_sample, rows_of, stream, write_files, write_samples

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


@pytest.mark.parametrize('use_task_id', [True, False])
def test_inputs_fit_the_feeds_of_the_graph(tmp_path, use_task_id):
    from ernie.pretrain.model import feeds

    files, _ = write_files(tmp_path, [30])
    tasks = make_tasks(TASKS)
    *expected, _ = feeds(SimpleNamespace(use_task_id=use_task_id), tasks)  # the last one are the scales
    for batch in stream(files):
        inputs = batch.parts[0].arrays.inputs(tasks, use_task_id)
        assert [array.dtype.name for array in inputs] == [feed.dtype for feed in expected]
        assert [array.ndim for array in inputs] == [len(feed.shape) for feed in expected]


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
    files, _ = write_files(tmp_path, [400, 400, 400], probabilities=(1.1, 0.0))
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
        assert list(seen) == [(1, 3), (2, 3), (3, 3)]


# ------------------------------------------------------------------------------------------------------ official files


@pytest.mark.skipif('ERNIE_TEST_DATA' not in os.environ, reason='ERNIE_TEST_DATA is not set')
@pytest.mark.parametrize(('name', 'labels', 'longest'), [('train', (6221, 3779), 131), ('valid', (3709, 2291), 130)])
def test_official_demo_files(name, labels, longest):
    """All lines are read, once; a token batch of 8192 is hardly padded."""
    path = os.path.join(os.environ['ERNIE_TEST_DATA'], 'ernie_official', f'demo_{name}_set.gz')
    ids, limits = VocabularyIds(0, 1, 2, 3, 18000), Limits(18000, 2, 513)
    tasks = make_tasks(['knowledge_masking', 'next_sentence'])
    batches = list(PretrainStream([ListedFile(path, 1.1)], tasks, ids, limits, ReaderSettings(8192)))
    assert sorted(line for _, line in rows_of(batches)) == list(range(1, sum(labels) + 1))
    counts = np.bincount(np.concatenate([batch.parts[0].arrays.labels['next_sentence'] for batch in batches]))
    assert tuple(counts) == labels
    assert max(batch.parts[0].arrays.token_ids.shape[1] for batch in batches) == longest
    assert sum(batch.real_tokens for batch in batches) > 0.95 * sum(batch.fed_tokens for batch in batches)
    assert all(batch.fed_tokens <= 8192 for batch in batches)
    selected = sum(batch.label_counts['knowledge_masking'] for batch in batches)
    special = sum((batch.parts[0].arrays.token_ids == 2).sum() for batch in batches)
    assert selected / (sum(batch.real_tokens for batch in batches) - 1.5 * special) == pytest.approx(0.15, abs=0.005)
