import json
from collections import Counter

import numpy as np
import pytest

from ernie.pretrain.schedule import Schedule, Stage, read_schedule, single, turns
from propeller.errors import UserError

YAML = """
tasks:
  knowledge_masking: {filelist: a}
  sentence_reordering: {filelist: b, classes: 33}
stages:
  - steps: {knowledge_masking: 20}
  - steps: {knowledge_masking: 10, sentence_reordering: 30}
    learning_rate: 5.0e-5
    warmup_steps: 4
"""


def test_a_schedule_from_yaml_and_json(tmp_path):
    yaml, plain = tmp_path / 's.yaml', tmp_path / 's.json'
    yaml.write_text(YAML)
    schedule = read_schedule(yaml)
    assert schedule.filelists == {'knowledge_masking': 'a', 'sentence_reordering': 'b'}
    assert schedule.classes == {'sentence_reordering': 33}
    assert schedule.stages == [
        Stage({'knowledge_masking': 20}),
        Stage({'knowledge_masking': 10, 'sentence_reordering': 30}, 5e-5, 4),
    ]
    assert schedule.total == 60
    tasks = {name: {'filelist': path} for name, path in schedule.filelists.items()}
    tasks['sentence_reordering']['classes'] = 33
    stages = [{k: v for k, v in stage._asdict().items() if v is not None} for stage in schedule.stages]
    plain.write_text(json.dumps({'tasks': tasks, 'stages': stages}))
    assert read_schedule(plain) == schedule


def test_numbers_with_an_exponent_need_no_decimal_point(tmp_path):
    path = tmp_path / 's.yaml'
    for text, rate in (('5e-5', 5e-5), ('1E+0', 1.0), ('.5e-3', 5e-4), ('2.e-3', 2e-3)):
        path.write_text(YAML.replace('5.0e-5', text))
        assert read_schedule(path).stages[1].learning_rate == rate


def test_places_and_rates():
    schedule = Schedule({}, [Stage({'a': 3}), Stage({'a': 4}, 2.0, 2)], {})
    assert [schedule.place(i) for i in range(8)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]
    rate = schedule.rate('linear_warmup_decay', 1.0, 1)
    # base * s/W below W, then base * (1 - s/N), in each stage anew.
    assert [rate(i) for i in range(8)] == pytest.approx([0, 2 / 3, 1 / 3, 0, 1, 1, 0.5, 0])


def test_the_updates_of_a_task_are_spread_over_its_stage():
    whose = list(turns(Stage({'c': 0, 'b': 10, 'a': 30})))
    assert Counter(whose) == {'a': 30, 'b': 10}
    for cut in range(41):
        assert abs(whose[:cut].count('b') - cut / 4) <= 1
    assert list(turns(Stage({'all': 2}))) == ['all', 'all']
    assert single('f', 7) == Schedule({'all': 'f'}, [Stage({'all': 7})], {})


@pytest.mark.parametrize('counts', [(3, 7, 11), (1, 1, 1, 1), (50, 2, 3, 49, 1), (64, 32, 16), (5,)])
def test_the_order_is_that_of_the_sorted_moments_from_any_update_on(counts):
    steps = {f's{i}': count for i, count in enumerate(counts)}
    moments = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    whose = np.repeat(list(steps), counts)[np.argsort(moments, kind='stable')].tolist()
    for begun in range(sum(counts) + 1):
        assert list(turns(Stage(steps), begun)) == whose[begun:]


def test_a_stage_of_any_length_costs_neither_time_nor_memory():
    stage = Stage({'a': 3 * 10**8, 'b': 10**17})
    for begun in (0, 2 * 10**8, stage.total - 1):
        assert next(turns(stage, begun)) in ('a', 'b')


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ('sentence_reordering: {', 'sentence_order: {', "the task 'sentence_order', expected one of knowledge_masking"),
        ('filelist: b, ', '', "task sentence_reordering without 'filelist'"),
        ('classes: 33', 'classes: many', "classes 'many', expected a whole number"),
        ('classes: 33', 'class: 3', "task sentence_reordering: 'class', expected one of filelist, classes"),
        (
            '- steps: {knowledge_masking: 20}',
            '- {knowledge_masking: 20}',
            "stage 1: 'knowledge_masking', expected",
        ),
        (
            'sentence_reordering: 30',
            'capitalization: 30',
            "stage 2: the task 'capitalization', expected",
        ),
        (
            'knowledge_masking: 20',
            'knowledge_masking: -2',
            'stage 1: knowledge_masking -2, expected a number',
        ),
        ('knowledge_masking: 20', 'knowledge_masking: 0', 'stage 1 without updates'),
        ('5.0e-5', '-1', 'stage 2: learning_rate -1, expected a number above 0'),
        ('warmup_steps: 4', 'warmup_steps: -4', 'stage 2: warmup_steps -4'),
        ('stages:', 'stage:', "the schedule: 'stage', expected one of tasks, stages"),
        ('tasks:', 'tasks: [', r's.yaml:\d+: found no YAML \(expected '),
        ('stages:', 'stages:\n\tx', r's.yaml:\d+: found no YAML \(found character'),
        (
            'knowledge_masking: 20',
            'knowledge_masking: 2e1',
            'stage 1: knowledge_masking 20.0, expected a number',
        ),
        ('5.0e-5', '"5e-5"', "stage 2: learning_rate '5e-5', expected a number"),
        (
            'knowledge_masking: 20',
            'knowledge_masking: 20, knowledge_masking: 3',
            r"s.yaml:\d+: found 'knowledge_masking' twice",
        ),
        ('filelist: a', 'filelist: 2001-99-99', r'found no YAML \(month'),
        (YAML, '!!map x', r's.yaml:1: found no YAML \(expected a mapping'),
        (YAML, ' \n', 'found an empty file, expected a schedule in YAML or JSON'),
        (YAML, 'tasks: {}\nstages: []\n', '0 tasks and 0 stages, expected at least one of each'),
    ],
)
def test_what_cannot_be_is_named(tmp_path, old, new, words):
    path = tmp_path / 's.yaml'
    assert old in YAML
    path.write_text(YAML.replace(old, new))
    with pytest.raises(UserError, match=words) as caught:
        read_schedule(path)
    assert str(path) in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match='no such file'):
        read_schedule(tmp_path / 'none.yaml')
    cases = {'{\n"tasks": ': 's.json:2: found bad JSON', '{"tasks": {"a": 1, "a": 2}}': "'a' twice in one object"}
    for text, words in cases.items():
        (tmp_path / 's.json').write_text(text)
        with pytest.raises(UserError, match=words):
            read_schedule(tmp_path / 's.json')
