import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ernie.pretrain.masking import SPAN_Q, Masking, VocabularyIds, mask_batch
from ernie.pretrain.sample_set import read_sets
from ernie.tokenization import load_vocab
from propeller.errors import UsageError
from tests.ernie.pretrain_files import IDS, random_sample


class Recorder:
    """A generator that remembers what it drew."""

    def __init__(self, seed):
        self.rng, self.uniform, self.whole = np.random.default_rng(seed), [], []

    def random(self, count):
        self.uniform.append(self.rng.random(count))
        return self.uniform[-1].copy()

    def integers(self, first, end, count):
        self.whole.append(self.rng.integers(first, end, count))
        return self.whole[-1]


def mask_2019(ids, segments, by_word, p, random_ids, rate):
    """The rule of 2019, token by token, for one row: (what the model sees, places to be predicted)."""
    seen, places = list(ids), []

    def act(place, u):
        places.append(place)
        if u > 0.2:
            seen[place] = IDS.mask
        elif u > 0.1:
            seen[place] = next(random_ids)

    place = 0
    while place < len(ids):
        if ids[place] in (IDS.pad, IDS.cls, IDS.sep) or segments[place] == -1 or (by_word and segments[place] == 1):
            place += 1
            continue
        end = place + 1
        while by_word and end < len(ids) and segments[end] == 1 and ids[end] not in (IDS.pad, IDS.cls, IDS.sep):
            end += 1
        if p[place] <= rate:
            act(place, p[place] / rate)
            for other in range(place + 1, end):
                act(other, p[other])
        place = end
    return seen, places


@st.composite
def padded_batches(draw):
    """Rows of any segments and ids, those that a builder would never write among them."""
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    shape = st.lists(st.lists(st.integers(-1, 1), min_size=width, max_size=width), min_size=rows, max_size=rows)
    segments = np.array(draw(shape))
    ids = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 12, (rows, width))
    flags = st.lists(st.booleans(), min_size=rows, max_size=rows)
    return ids, segments, np.array(draw(flags)), np.array(draw(flags))


@settings(max_examples=400)
@given(padded_batches(), st.integers(0, 1000), st.sampled_from([0.15, 0.6]))
def test_the_rule_of_2019(batch, seed, rate):
    ids, segments, by_word, wanted = batch
    recorder, masking = Recorder(seed), Masking() if rate == 0.15 else Masking(rate)
    seen, labels, positions = mask_batch(masking, ids, segments, by_word, wanted, IDS, recorder)
    p = recorder.uniform[0].reshape(ids.shape)
    random_ids = iter(recorder.whole[0].tolist())
    expected, places = [], []
    for row in range(len(ids)):
        if not wanted[row]:
            expected.append(ids[row].tolist())
            continue
        row_seen, row_places = mask_2019(ids[row].tolist(), segments[row], by_word[row], p[row], random_ids, rate)
        expected.append(row_seen)
        places += [row * ids.shape[1] + place for place in row_places]
    assert seen.tolist() == expected
    assert positions.tolist() == places
    assert labels.tolist() == ids.ravel()[places].tolist()
    assert positions.dtype == labels.dtype == np.int64


def large_batch(rows=6000, seed=3):
    rng = np.random.default_rng(seed)
    ids, segments = np.zeros((rows, 40), int), np.full((rows, 40), -1)
    for row in range(rows):
        sample = random_sample(rng)
        ids[row, : len(sample.token_ids)], segments[row, : len(sample.token_ids)] = sample.token_ids, sample.segments
    return ids, segments


def shares(masking, by_word, seed=5, rows=6000):
    """(share of the maskable tokens that is selected, shares of these that are masked, changed, kept)."""
    ids, segments = large_batch(rows)
    flags = np.full(len(ids), by_word)
    seen, labels, positions = mask_batch(masking, ids, segments, flags, flags | True, IDS, np.random.default_rng(seed))
    at = seen.ravel()[positions]
    untouched = np.ones(ids.size, bool)
    untouched[positions] = False
    assert (seen.ravel()[untouched] == ids.ravel()[untouched]).all()
    assert not np.isin(labels, [IDS.pad, IDS.cls, IDS.sep]).any()
    kinds = (at == IDS.mask).mean(), ((at != IDS.mask) & (at != labels)).mean(), (at == labels).mean()
    return len(positions) / (segments >= 0).sum(), np.array(kinds)


# Of the random ids, 1 in 96 is the token itself, and 1 in 96 is [MASK].
@pytest.mark.parametrize('by_word', [False, True])
@pytest.mark.parametrize(
    'masking',
    [
        Masking(),
        Masking(whole_unit=True),
        Masking(max_ngram=4),
        Masking(max_ngram=3, whole_unit=True),
        Masking(masking_rate=0.4, mask=0.5, random=0.3, keep=0.2),
        Masking(mask=0.3, random=0.1, keep=0.6),
        Masking(masking_rate=1.0, mask=0.0, random=1.0, keep=0.0),
    ],
)
def test_proportions(masking, by_word):
    share, kinds = shares(masking, by_word)
    assert share == pytest.approx(masking.masking_rate, abs=0.005)
    doubled = masking.random / (IDS.size - 1)
    expected = [masking.mask + doubled, masking.random - 2 * doubled, masking.keep + doubled]
    assert kinds == pytest.approx(expected, abs=0.012)


def test_random_ids_are_all_but_the_first():
    ids, segments = large_batch(2000)
    flags = np.ones(len(ids), bool)
    masking = Masking(masking_rate=1.0, mask=0.0, random=1.0, keep=0.0)
    seen, _, positions = mask_batch(masking, ids, segments, flags, flags, IDS, np.random.default_rng(1))
    counts = np.bincount(seen.ravel()[positions], minlength=IDS.size)
    assert counts[0] == 0
    assert counts[1:].min() > 0.7 * counts[1:].mean()
    assert len(counts) == IDS.size


def units_of(segments):
    """Lists of places, one for each unit of a row."""
    units = []
    for place, segment in enumerate(segments):
        if segment == 0:
            units.append([place])
        elif segment == 1:
            units[-1].append(place)
    return units


@pytest.mark.parametrize('whole_unit', [False, True])
def test_units_are_selected_as_a_whole(whole_unit):
    ids, segments = large_batch(800)
    flags = np.ones(len(ids), bool)
    masking = Masking(whole_unit=whole_unit)
    seen, _, positions = mask_batch(masking, ids, segments, flags, flags, IDS, np.random.default_rng(2))
    selected = np.zeros(ids.shape, bool)
    selected.ravel()[positions] = True
    mixed = 0
    for row in range(len(ids)):
        for unit in units_of(segments[row]):
            assert selected[row, unit].all() or not selected[row, unit].any()
            if selected[row, unit].any():
                mixed += len(set((seen[row, unit] == IDS.mask).tolist())) > 1
    # A whole unit may be replaced by random ids, of which one in 96 is [MASK].
    assert mixed <= 3 if whole_unit else mixed > 50


@pytest.mark.parametrize('by_word', [False, True])
@pytest.mark.parametrize('most', [2, 5])
@pytest.mark.parametrize('special', [True, False])
def test_spans_are_those_of_the_formula(by_word, most, special):
    """The selected places are those of spans that are cut and chosen one after the other from the same draws."""
    ids, segments = large_batch(300)
    if not special:  # a row follows the other without anything between them
        ids, segments = ids[segments >= 0][:4000].reshape(-1, 8), segments[segments >= 0][:4000].reshape(-1, 8)
        segments[:, 0] = 0
    flags = np.full(len(ids), by_word)
    recorder = Recorder(4)
    _, _, positions = mask_batch(Masking(max_ngram=most), ids, segments, flags, flags | True, IDS, recorder)
    p, u = recorder.uniform[0].reshape(ids.shape), iter(recorder.uniform[1])
    weights = [SPAN_Q * (1 - SPAN_Q) ** (k - 1) for k in range(1, most + 1)]
    left, expected = 0, []
    for row in range(len(ids)):
        units = units_of(segments[row]) if by_word else [[place] for place in np.flatnonzero(segments[row] >= 0)]
        for before, unit in zip([[-9], *units], units, strict=False):
            new = left == 0
            if new:
                left = 1 + int(np.searchsorted(np.cumsum(weights) / sum(weights), next(u)))
            left -= 1
            if new or before[-1] + 1 != unit[0]:
                first = unit[0]
            if p[row, first] <= 0.15:
                expected += [row * ids.shape[1] + place for place in unit]
    assert positions.tolist() == expected


def test_span_sizes_of_a_long_text():
    """In one sample of single tokens spans end only where they are drawn to."""
    tokens = 200_000
    ids, segments = np.full((1, tokens), 9), np.zeros((1, tokens), int)
    flag = np.ones(1, bool)
    masking = Masking(masking_rate=0.01, max_ngram=4)
    _, _, positions = mask_batch(masking, ids, segments, flag, flag, IDS, np.random.default_rng(8))
    runs = np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1)
    counts = np.bincount([len(run) for run in runs], minlength=5)[1:5] / len(runs)
    expected = np.array([0.8**k for k in range(4)]) / sum(0.8**k for k in range(4))
    assert counts == pytest.approx(expected, abs=0.05)
    assert len(positions) / tokens == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize('by_word', [False, True])
@pytest.mark.parametrize('most', [1, 3])
def test_at_least_one_in_each_sample(by_word, most):
    ids, segments = large_batch(3000)
    ids[7], segments[7] = 0, -1  # nothing to select here
    wanted = np.arange(len(ids)) % 5 != 0
    masking = Masking(masking_rate=0.02, at_least_one=True, max_ngram=most, whole_unit=True)
    flags = np.full(len(ids), by_word)
    seen, labels, positions = mask_batch(masking, ids, segments, flags, wanted, IDS, np.random.default_rng(3))
    counts = np.bincount(positions // ids.shape[1], minlength=len(ids))
    possible = wanted & (segments >= 0).any(axis=1)
    assert ((counts > 0) == possible).all()
    _, _, without = mask_batch(
        masking._replace(at_least_one=False), ids, segments, flags, wanted, IDS, np.random.default_rng(3)
    )
    before = np.bincount(without // ids.shape[1], minlength=len(ids))
    assert (before[possible] == 0).mean() > 0.4
    assert (counts == before)[before > 0].all()
    masked = (seen.ravel()[positions] == IDS.mask).mean()
    assert masked == pytest.approx(0.8, abs=0.03)
    if not by_word and most == 1:
        forced = positions[np.isin(positions // ids.shape[1], np.flatnonzero(possible & (before == 0)))]
        lengths = (segments >= 0).sum(axis=1)[forced // ids.shape[1]]
        # Any token of the sample is as likely: on average the middle one.
        places = np.array([(segments[p // 40, : p % 40] >= 0).sum() for p in forced])
        assert ((places + 0.5) / lengths).mean() == pytest.approx(0.5, abs=0.02)


def test_nothing_to_mask():
    ids = np.array([[1, 2], [1, 2]])
    seen, labels, positions = mask_batch(
        Masking(max_ngram=3, at_least_one=True),
        ids,
        np.full((2, 2), -1),
        np.ones(2, bool),
        np.ones(2, bool),
        IDS,
        np.random.default_rng(0),
    )
    assert seen.tolist() == ids.tolist()
    assert len(labels) == len(positions) == 0


@pytest.mark.parametrize(
    ('masking', 'text'),
    [
        (Masking(masking_rate=0.0), 'masking rate of 0.0'),
        (Masking(masking_rate=1.5), 'masking rate of 1.5'),
        (Masking(mask=0.8, random=0.3), '0.8/0.3/0.1'),
        (Masking(mask=1.2, random=-0.2, keep=0.0), '1.2/-0.2/0'),
        (Masking(max_ngram=0), 'at most 0 units'),
    ],
)
def test_values_that_cannot_be(masking, text):
    with pytest.raises(UsageError, match=text):
        masking.check()


@pytest.mark.skipif('ERNIE_TEST_DATA' not in os.environ, reason='ERNIE_TEST_DATA is not set')
@pytest.mark.parametrize('by_word', [False, True])
def test_the_official_demo_file(by_word):
    """10,000 lines: 15 % selected, of these 80/10/10, all within half a point."""
    folder = os.path.join(os.environ['ERNIE_TEST_DATA'], 'ernie_official')
    ids = VocabularyIds.of(load_vocab(os.path.join(folder, 'vocab.txt')), size=18000)
    total = chosen = 0
    kinds = np.zeros(3)
    for seed, samples in enumerate(read_sets(os.path.join(folder, 'demo_train_set.gz'))):
        flags = np.full(samples.count, by_word)
        rng = np.random.default_rng(seed)
        seen, selected = Masking()(samples.token_ids, samples.segments, samples.offsets, flags, flags | True, ids, rng)
        at, was = seen[selected], samples.token_ids[selected]
        total, chosen = total + (samples.segments >= 0).sum(), chosen + len(at)
        kinds += (at == ids.mask).sum(), ((at != ids.mask) & (at != was)).sum(), (at == was).sum()
    assert chosen / total == pytest.approx(0.15, abs=0.005)
    assert kinds / chosen == pytest.approx([0.8, 0.1, 0.1], abs=0.005)
