"""train.py: pre-training from sample files, its log lines and records, exact resume, processes, from it to use."""

import json
import re

import numpy as np
import pytest

import train
from ernie.pretrain import trainer
from propeller.errors import UsageError, UserError
from propeller.storage import open_tensors
from tests import processes
from tests.counting_hook import with_hooks
from tests.ernie.tiny_model import flags, messages, records, run, sentences, table
from tests.ernie.tiny_pretraining import (
    PRETRAIN_SETTINGS,
    first_form,
    run_train,
    task_form,
    write_config,
    write_files,
)

NO_DROPOUT = {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """dict flag -> path of lists of files of ERNIE 1.0."""
    folder = tmp_path_factory.mktemp('samples')
    return {
        'train_filelist': write_files(folder, 'train', first_form(70, 1), first_form(45, 2)),
        'valid_filelist': write_files(folder, 'valid', first_form(33, 3)),
    }


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config'))


def tensors(folder):
    found = open_tensors(folder)
    return {name: found[name] for name in found}


def same(left, right):
    left, right = tensors(left), tensors(right)
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(right[name], value, err_msg=name)


def test_the_lines_of_2019_and_the_records(tmp_path, data, config):
    log = run_train(**data, **config, checkpoints=tmp_path, validation_steps=6).log
    lines = messages(log)
    assert {'pretraining start', 'Device count 1', 'theoretical memory usage:'} <= set(lines)
    number = r'\d+\.\d{6}'
    line = (
        rf'epoch: \d+, progress: [12]/2, step: 12, loss: {number}, ppl: {number}, next_sent_acc: {number}, '
        rf'speed: {number} steps/s, file: \S+train_[01].gz, mask_type: mask_word, time left: [\d:]+'
    )
    assert [text for text in lines if re.fullmatch(line, text)], lines
    valid = (
        rf'\[validation_set\] epoch: \d+, step: 12, loss: {number}, global ppl: {number}, batch-averged ppl: {number}, '
        rf'next_sent_acc: {number}, speed: {number} steps/s'
    )
    assert [text for text in lines if re.fullmatch(valid, text)], lines
    keys = [line.split('  ')[0] for line in lines]
    assert {'data', 'tasks', 'model', 'device', 'steps', 'stages', 'done', 'checkpoints', 'report'} <= set(keys)
    assert set(lines) <= set(messages((tmp_path / 'run.log').read_text()))
    train = records(tmp_path, 'train')
    assert [r['step'] for r in train] == [3, 6, 9, 12]
    for r in train:
        assert r['loss'] == pytest.approx(r['knowledge_masking_loss'] + r['next_sentence_loss'], rel=1e-6)
        assert r['ppl'] == pytest.approx(np.exp(r['knowledge_masking_loss']), rel=1e-6)
        assert r['knowledge_masking_share'] + r['next_sentence_share'] == pytest.approx(1)
    assert [r['step'] for r in records(tmp_path, 'valid')] == [6, 12]
    page = (tmp_path / 'report.html').read_text(encoding='utf-8')
    assert 'Learning curves' in page and 'train_filelist' in page and (tmp_path / 'curves.png').is_file()
    assert sorted(path.name for path in (tmp_path / 'step_12').iterdir()) == [
        'ernie_config.json',
        'model.safetensors',
        'optimizer.safetensors',
        'tokenizer_config.json',
        'training_state.json',
        'vocab.txt',
    ]


def test_it_learns_and_its_checkpoint_goes_into_fine_tuning(tmp_path, data):
    config = write_config(tmp_path / 'config', **NO_DROPOUT, hidden_size=24, num_hidden_layers=1)
    run_train(
        **config,
        train_filelist=write_files(tmp_path, 'train', first_form(700, 1)),
        valid_filelist=data['valid_filelist'],
        checkpoints=tmp_path / 'p',
        batch_size=400,
        num_train_steps=300,
        learning_rate=3e-3,
        validation_steps=100,
    )
    valid = records(tmp_path / 'p', 'valid')
    assert valid[-1]['next_sentence_acc'] > 0.85
    assert valid[-1]['knowledge_masking_loss'] < np.log(30) - 0.3  # the neighbours rule half of the tokens out
    log = run(
        init_pretraining_params=tmp_path / 'p' / 'step_300',
        checkpoints=tmp_path / 'c',
        train_set=table(tmp_path / 't.tsv', sentences(40, 1)),
        do_val=False,
        do_test=False,
        epoch=1,
    ).log
    assert 'new, with random values: _cls_out_w, _cls_out_b' in messages(log)
    tested = messages(
        run_train(
            test_filelist=data['valid_filelist'],
            init_checkpoint=tmp_path / 'p' / 'step_300',
            checkpoints=tmp_path / 'e',
            do_test=True,
            batch_size=400,
        ).log
    )
    (line,) = [text for text in tested if text.startswith('[test_set] loss')]
    assert float(re.search(r'loss: (\S+),', line)[1]) == pytest.approx(valid[-1]['loss'], abs=1e-5)


def test_new_heads_over_old_parameters(tmp_path, data, config):
    run_train(**data, **config, checkpoints=tmp_path / 'first', num_train_steps=2)
    capitals = write_files(tmp_path / 'data', 'capitals', task_form('capitalization', 1, 50, 5))
    values = {'train_filelist': capitals, 'tasks': 'knowledge_masking,capitalization', 'num_train_steps': 2}
    lines = messages(
        run_train(**values, init_pretraining_params=tmp_path / 'first' / 'step_2', checkpoints=tmp_path / 'second').log
    )
    assert 'new, with random values: capitalization_fc.w_0, capitalization_fc.b_0' in lines
    assert any('next_sent_fc.w_0' in line for line in lines if line.startswith('not used: '))


def schedule_of(folder):
    """Two stages: masking with pairs, then capitals and distances as well."""
    lists = {
        'knowledge_masking': write_files(folder, 'masking', first_form(60, 4)),
        'capitalization': write_files(folder, 'capitals', task_form('capitalization', 1, 50, 5)),
        'sentence_distance': write_files(folder, 'distance', task_form('sentence_distance', 4, 50, 6)),
    }
    content = {
        'tasks': {name: {'filelist': path} for name, path in lists.items()},
        'stages': [
            {'steps': {'knowledge_masking': 5}},
            {'steps': {'knowledge_masking': 2, 'capitalization': 4, 'sentence_distance': 3}, 'learning_rate': 2e-3},
        ],
    }
    path = folder / 'schedule.json'
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize('stopped_at', [3, 8])
def test_stages_are_resumed_exactly(tmp_path, tmp_path_factory, stopped_at):
    """Inside the first and inside the second stage, with dropout, task embeddings and accumulation."""
    config = write_config(tmp_path / 'config', use_task_id=True, task_type_vocab_size=9)
    values = {**config, 'schedule': schedule_of(tmp_path / 'data'), 'gradient_accumulation_steps': 2, 'skip_steps': 1}
    whole = run_train(**values, checkpoints=tmp_path / 'whole', save_steps=stopped_at)
    kept = tmp_path / 'cut'
    kept.mkdir()
    (tmp_path / 'whole' / f'step_{stopped_at}').rename(kept / f'step_{stopped_at}')
    run_train(**values, checkpoints=kept, resume=True)
    same(tmp_path / 'whole' / 'step_14', kept / 'step_14')
    train = records(tmp_path / 'whole', 'train')
    again = records(kept, 'train')
    quiet = ('time', 'steps_per_second', 'tokens_per_second')
    assert [{k: v for k, v in r.items() if k not in quiet} for r in again] == [
        {k: v for k, v in r.items() if k not in quiet} for r in train[stopped_at:]
    ]
    assert [r['stage'] for r in train] == [0] * 5 + [1] * 9
    assert sum('capitalization_loss' in r for r in train) == 4
    assert sum('sentence_distance_loss' in r for r in train) == 3
    assert all('next_sentence_loss' not in r for r in train)  # no task of the schedule
    assert [r['learning_rate'] for r in train] == pytest.approx([1e-3] * 5 + [2e-3] * 9)
    assert 'stage 2, tasks: ' in whole.log


def test_two_processes_make_what_two_parts_make(tmp_path, data):
    config = write_config(tmp_path / 'config', **NO_DROPOUT)
    values = {**PRETRAIN_SETTINGS, **data, **config}
    for name, count, parts in (('parts', 1, 2), ('processes', 2, 1)):
        command = flags(**values, checkpoints=tmp_path / name, gradient_accumulation_steps=parts)
        for code, _, err in processes.run(count, ['train.py', *command]):
            assert code == 0, err
    left, right = (tensors(tmp_path / name / 'step_12') for name in ('parts', 'processes'))
    for name, value in left.items():
        if not name.endswith('key_fc.b_0'):  # see tests/test_several_processes.py
            np.testing.assert_allclose(right[name], value, rtol=0, atol=1e-6, err_msg=name)
    for phase in ('train', 'valid'):
        pairs = zip(records(tmp_path / 'parts', phase), records(tmp_path / 'processes', phase), strict=True)
        for one, other in pairs:
            assert one['loss'] == pytest.approx(other['loss'], abs=1e-5)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'train_filelist': None}, 'found --train_filelist and --schedule both or neither'),
        ({'batch_size': 100}, '--batch_size 100: it counts tokens and must exceed 100'),
        ({'max_seq_len': 200}, 'must be at least --max_seq_len 200'),
        ({'tasks': 'masking'}, "found the pre-training task 'masking', expected one of"),
        ({'tasks': ','}, '--tasks is empty'),
        ({'train_filelist': None, 'schedule': 's', 'tasks': 'capitalization'}, '--tasks and --schedule: give one'),
        ({'do_test': True}, '--do_test true needs --test_filelist and --init_checkpoint'),
        ({'lr_scheduler': 'cosine'}, '--lr_scheduler cosine'),
        ({'masking_rate': 0}, '--masking_rate 0.0'),
        ({'num_train_steps': 0}, '--num_train_steps 0'),
        ({'precision': 'fp16'}, '--precision fp16 needs a GPU'),
        ({'early_stop': 0}, '--early_stop 0: expected the number of evaluations to wait, or -1'),
        ({'keep_best': True, 'valid_filelist': None}, '--keep_best and --early_stop need a --valid_filelist'),
    ],
)
def test_flags_that_cannot_be(tmp_path, data, config, changes, words):
    with pytest.raises(UsageError, match=words):
        run_train(**{**data, **config, 'checkpoints': tmp_path, **changes})


def test_files_that_are_not_there(tmp_path, data, config):
    for path, words in (('none', 'none: no such file'), (tmp_path, f'{tmp_path}: found a folder, expected a file')):
        with pytest.raises(UserError, match=f'--train_filelist: {words}'):
            run_train(**{**data, **config, 'checkpoints': tmp_path, 'train_filelist': path})


def test_what_the_samples_lack_is_told_before_training(tmp_path, config):
    listed = write_files(
        tmp_path, 'capitals', task_form('capitalization', 1, 30, 5), task_form('capitalization', 1, 9, 6)
    )
    pairs = write_files(tmp_path, 'pairs', first_form(20, 4))
    told = messages(run_train(train_filelist=listed, valid_filelist=pairs, **config, checkpoints=tmp_path / 'a').log)
    assert [line for line in told if 'has a label of' in line or 'task ids' in line] == [
        f'{listed}: none of the first 39 samples (2 files) has a label of next_sentence: it is neither learnt nor '
        'measured here',
        f'{listed}: its task ids have no effect: the model configuration has no use_task_id',
    ]
    tasks = {'capitalization': {'filelist': pairs}, 'knowledge_masking': {'filelist': listed}}
    tasks['next_sentence'] = {'filelist': pairs}
    schedule = tmp_path / 's.json'
    schedule.write_text(
        json.dumps({'tasks': tasks, 'stages': [{'steps': {'knowledge_masking': 1, 'capitalization': 1}}]})
    )
    config = write_config(tmp_path / 'config', use_task_id=True, task_type_vocab_size=9)
    told = messages(run_train(schedule=schedule, **config, checkpoints=tmp_path / 'b').log)
    assert [line for line in told if 'has a label of' in line or 'task ids' in line or 'no stage' in line] == [
        f'{schedule}: no stage has updates for next_sentence',
        f'{pairs}: none of the first 20 samples (1 files) has a label of capitalization: it is neither learnt nor '
        'measured here',
    ]


def test_validation_files_are_looked_at_before_training(tmp_path, data, config):
    long = first_form(9, 3)[:1] + [';'.join(['9 ' * 17 + '2', *['0 ' * 17 + '0'] * 3, '1'])] * 9
    for lines, words in (
        (long[1:], 'valid_0.gz: found no sample that can be used'),
        ([*long, '9;0;0;x;1'], r"valid_0.gz:11: found 'x' in seg_labels"),
    ):
        valid = write_files(tmp_path, 'valid', lines)
        with pytest.raises(UserError, match=words):
            run_train(**{**data, **config, 'valid_filelist': valid}, checkpoints=tmp_path / 'c', validation_steps=1)
        assert [path.name for path in (tmp_path / 'c').iterdir()] == ['.propeller-run.json']


def test_a_vocabulary_that_does_not_fit(tmp_path, data, config):
    vocabulary = tmp_path / 'vocab.txt'
    tokens = config['vocab_path'].read_text(encoding='utf-8').splitlines()
    values = {**data, 'ernie_config_path': config['ernie_config_path'], 'vocab_path': vocabulary}
    vocabulary.write_text('\n'.join([*tokens, *map(str, range(99))]) + '\n', encoding='utf-8')
    with pytest.raises(UserError, match=r'vocab.txt: found id \d+ \(98\), expected ids below vocab_size 61'):
        run_train(**values, checkpoints=tmp_path / 'c')
    vocabulary.write_text('\n'.join(tokens[:33]) + '\n', encoding='utf-8')
    with pytest.raises(
        UserError, match=r'train_0.gz:\d+: found the token id 3\d, expected one below 33, the tokens of'
    ):
        run_train(**values, checkpoints=tmp_path / 'c')
    assert not list((tmp_path / 'c').glob('step_*'))


def test_a_training_goes_on_with_what_it_was_made_with_only(tmp_path, data, config):
    values = {**data, **config, 'checkpoints': tmp_path / 'c', 'num_train_steps': 2}
    run_train(**values)
    others = {
        'made with tasks knowledge_masking next_sentence, expected tasks knowledge_masking': {
            'tasks': 'knowledge_masking'
        },
        'made with batch_size 110, expected batch_size 130': {'batch_size': 130},
        'made with files of other names, sizes, contents or prob': {'train_filelist': data['valid_filelist']},
        'made with --train_filelist, expected capitalization, knowledge_masking, sentence_distance': {
            'train_filelist': None,
            'schedule': schedule_of(tmp_path / 'd'),
        },
        'vocab.txt: found another vocabulary, expected that of the checkpoint': {'vocab_path': tmp_path / 'vocab.txt'},
    }
    text = config['vocab_path'].read_text(encoding='utf-8')
    (tmp_path / 'vocab.txt').write_text(text + 'further\n', encoding='utf-8')
    for words, changes in others.items():
        with pytest.raises(UserError, match=words) as caught:
            run_train(**{**values, 'num_train_steps': 3, **changes}, resume=True)
        assert f'--init_pretraining_params {tmp_path}/c/step_2 and another --checkpoints' in str(caught.value)
    assert not (tmp_path / 'c' / 'step_3').exists()
    run_train(**{**values, 'num_train_steps': 3}, resume=True)
    assert (tmp_path / 'c' / 'step_3').exists()


def test_a_run_and_its_folder(tmp_path, data, config, monkeypatch):
    """Whose the folder is, from where a run in it goes on, and what its hooks remember: as in fine-tuning."""
    seen, folder = [[]], tmp_path / 'c'
    monkeypatch.setattr(trainer, 'build_model_spec', with_hooks(trainer.build_model_spec, seen))
    values = {**data, **config, 'valid_filelist': None, 'checkpoints': folder, 'save_steps': 2}
    run_train(**values, num_train_steps=6)
    with pytest.raises(UsageError, match=r'found checkpoints of an earlier training \(step_2, step_4, step_6\)'):
        run_train(**values, num_train_steps=3)
    (folder / '.tmp-precious').mkdir()
    seen[0].clear()
    lines = messages(run_train(**values, num_train_steps=3, overwrite_checkpoints=True).log)
    assert f'last checkpoint: {folder}/step_3' in lines and (folder / '.tmp-precious').exists()
    assert sorted(path.name for path in folder.glob('step_*')) == ['step_2', 'step_3']
    seen[0].clear()
    lines = messages(run_train(**values, num_train_steps=4, resume=True).log)
    assert f'resume: {folder}/step_3' in lines and seen == [[1, 2, 3, 4]]
    states = [json.loads((folder / f'step_{i}/training_state.json').read_text()) for i in (2, 3, 4)]
    assert len({state['run'] for state in states}) == 1 and states[2]['hooks'] == {'Counts': {'steps': [1, 2, 3, 4]}}
    (folder / 'step_4/optimizer.safetensors').unlink()
    with pytest.raises(UserError, match='step_4: found no optimizer.safetensors'):
        run_train(**values, num_train_steps=5, resume=True)


def test_files_of_other_content_but_equal_size_are_noticed(tmp_path, config):
    lines = first_form(40, 1)
    listed = write_files(tmp_path / 'd', 'train', lines)
    values = {**config, 'train_filelist': listed, 'checkpoints': tmp_path / 'c'}
    run_train(**values, num_train_steps=2)
    path = tmp_path / 'd/train_0.gz'
    before = path.read_bytes()
    changed = bytearray(before)
    changed[8] ^= 1  # of gzip's header, which only tells how hard it tried
    path.write_bytes(changed)
    with pytest.raises(UserError, match='files of other names, sizes, contents or prob'):
        run_train(**values, num_train_steps=3, resume=True)
    path.write_bytes(before)
    run_train(**values, num_train_steps=3, resume=True)


def test_a_run_again_from_its_file_alone(tmp_path, data, config):
    steps = {'num_train_steps': 4, 'skip_steps': 2, 'save_steps': 4, 'validation_steps': 4}
    run_train(**data, **config, **steps, checkpoints=tmp_path / 'a')
    # Configuration and vocabulary are those beside the parameters: the defaults of the flags are not meant.
    run_train(
        **data, **steps, init_pretraining_params=tmp_path / 'a/step_4', checkpoints=tmp_path / 'b', masking_rate=0.3
    )
    train.main(['--config', str(tmp_path / 'b/run.yaml'), '--checkpoints', str(tmp_path / 'c')])
    same(tmp_path / 'b/step_4', tmp_path / 'c/step_4')
    for phase in ('train', 'valid'):
        left, right = ([r['loss'] for r in records(tmp_path / name, phase)] for name in 'bc')
        assert left == right and len(left) in (1, 2)
