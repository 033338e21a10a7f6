"""Flag, label map and model say one number of classes; what `labels.json` says of them is checked."""

import itertools
import json

import numpy as np
import pytest

from ernie.checkpoint.labels_json import read_saved_labels
from ernie.decoding.classes import count_labels, label_names, warn_of_missing
from ernie.decoding.crf import WEIGHTS
from ernie.model.task_model import FineTuneModel
from ernie.tasks.codec import Codec
from ernie.tasks.table import TASKS, choices, find
from ernie.tasks.training import Task
from propeller.errors import UsageError, UserError

THREE = {'entailment': 2, 'contradictory': 0, 'contradiction': 0, 'neutral': 1}  # two names for one id


def test_all_that_tell_a_number_must_agree():
    """Each of the three is silent, says 3, or another number."""
    maps = {None: None, 3: THREE, 4: dict(zip('abcd', range(4), strict=True))}
    for asked, mapped, model in itertools.product((None, 3, 5), (None, 3, 4), (None, 3, 6)):
        said = {number for number in (asked, mapped, model) if number}
        call = asked, maps[mapped], 'map.json', model
        if len(said) > 1:
            with pytest.raises(UsageError) as e:
                count_labels(*call)
            numbers = [number for number in said if str(number) in str(e.value)]
            assert len(numbers) == 2 and 'classes' in str(e.value)
            assert 'map.json' in str(e.value) or mapped in (None, asked, model)
        else:
            assert count_labels(*call) == (said.pop() if said else 2)


def test_names_of_the_classes():
    assert label_names(THREE, 3) == ['contradictory', 'neutral', 'entailment']
    assert label_names({'O': 2, 'I-A': 0, 'B-A': 1}, 3) == ['I-A', 'B-A', 'O']
    assert label_names(None, 3) == ['0', '1', '2']


@pytest.mark.parametrize(
    ('saved', 'text'),
    [
        ({'label_map': {'a': 0, 'b': '1'}}, "the id '1' for the label 'b', expected a whole number"),
        ({'label_map': {'a': 0, 'b': 2}}, r'ids from 0 to 2, expected the ids 0 \.\. 1 without a gap'),
        ({'label_map': ['a']}, "label_map \\['a'\\], expected an object"),
        ({'task': 'regression'}, 'one of classification, sequence_labeling, mrc'),
        ({'kind': 'mrc'}, 'one of classify, regression, multilabel'),
    ],
)
def test_a_saved_file_that_cannot_be(tmp_path, saved, text):
    (tmp_path / 'labels.json').write_text(json.dumps(saved))
    with pytest.raises(UserError, match=rf'labels\.json: found .*{text}'):
        read_saved_labels(tmp_path)


@pytest.mark.parametrize('label_map', [None, {}, THREE])
def test_a_saved_map_that_can_be(tmp_path, label_map):
    (tmp_path / 'labels.json').write_text(json.dumps({'label_map': label_map}))
    assert read_saved_labels(tmp_path) == {'label_map': label_map}


def test_every_task_is_described():
    for name in TASKS:
        spec = find(name)
        graph, training, codec = (spec.load(part) for part in ('graph', 'training', 'codec'))
        assert issubclass(graph, FineTuneModel) and issubclass(training, Task) and issubclass(codec, Codec)
        assert spec.name == name and training.spec is spec and graph.head_parameters == spec.head
        assert set(graph.settings) <= {'kind', 'num_labels', *spec.load('fields')}
    assert list(choices()) == ['classification', 'regression', 'multilabel', 'sequence_labeling', 'mrc']
    assert choices()['multilabel'] == (find('classification'), 'multilabel') and choices()['mrc'] == (find('mrc'), None)
    assert find('sequence_labeling').head[2] == WEIGHTS


@pytest.mark.parametrize(
    ('counts', 'words'),
    [
        ([3, 1, 2], None),
        ([3, 0, 2], "data.tsv: 1 of 3 classes have no row, and will not be learned: 'neutral'"),
        ([0, 7, 0], "data.tsv: all labels are 'neutral': there is nothing to tell apart"),
    ],
)
def test_classes_that_a_training_set_does_not_show(caplog, counts, words):
    warn_of_missing('data.tsv', ['contradiction', 'neutral', 'entailment'], np.array(counts))
    assert [r.getMessage().startswith(words) for r in caplog.records] == ([True] if words else [])


def test_many_missing_classes_are_a_short_line(caplog):
    warn_of_missing('data.tsv', [f'class {i}' * 50 for i in range(1000)], [1, 1] + [0] * 998)
    (record,) = caplog.records
    assert '998 of 1000 classes have no row' in record.getMessage() and len(record.getMessage()) < 700
    warn_of_missing('data.tsv', ['0'], [5])  # regression
    assert len(caplog.records) == 1
