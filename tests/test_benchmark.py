"""The programs of `benchmark/`: they start, and they tell right from wrong. Their numbers are not timed here."""

import json
import os
import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark import (
    common,
    pretrain_gain,
    pretrain_reader,
    pretrain_stages,
    pretrain_tasks,
    pretraining,
    reading,
    sst2,
)
from benchmark import step as step_program
from benchmark.acceptance import kill_while_saving, resume_equal
from ernie.pretrain.file_list import read_file_list
from ernie.pretrain.sample_set import concatenated, read_sets
from ernie.pretrain.samples import parse_line
from ernie.pretrain.schedule import read_schedule
from ernie.pretrain.tasks import TASKS
from propeller.errors import UsageError, UserError
from propeller.storage import write_safetensors
from propeller.train.checkpoint import Checkpoints, save_checkpoint
from propeller.train.record import MetricsFile
from tests.ernie.pretrain_files import IDS, random_sample, write_files, write_samples
from tests.ernie.tiny_model import CONFIG, random_parameters, write_model
from tests.leftovers import dead_workplace

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__main__'): path
    for path in (ROOT / 'benchmark').rglob('*.py')
}
PROGRAMS = sorted(name for name, path in FILES.items() if "if __name__ == '__main__'" in path.read_text())


@pytest.mark.parametrize('name', PROGRAMS)
def test_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [name, '--help'])
    monkeypatch.delitem(sys.modules, name + '.__main__' * (FILES[name].stem == '__main__'), raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name='__main__', alter_sys=True)
    out = capsys.readouterr().out
    assert (ended.value.code, out.startswith('usage: ')) == (0, True)
    assert name.rpartition('.')[2] in out.split()[1]


def test_readme_names_every_program_and_no_other():
    text = (ROOT / 'benchmark' / 'README.md').read_text(encoding='utf-8')
    assert set(re.findall(r'python -m (benchmark[.\w]+)', text)) == set(PROGRAMS)


@pytest.fixture
def sst2_data(tmp_path):
    """Folder with a small table where that of SST-2 is."""
    (tmp_path / 'sst2_en').mkdir()
    rows = [('a fine film', 1), ('dull and long', 0)] * 40
    with open(tmp_path / 'sst2_en' / 'train.tsv', 'w', encoding='utf-8') as f:
        f.writelines(['text_a\tlabel\n', *(f'{text}\t{label}\n' for text, label in rows)])
    return tmp_path


@pytest.mark.parametrize(
    ('what', 'flags', 'words'),
    [
        ('overhead', ['--segments', 1], ['training loop: median', 'bare executor: median', 'overhead: ']),
        ('profile', ['--sides', 'plain'], ['plain: ', 'pd_op.matmul']),  # in a process that it starts
    ],
)
def test_short_runs_on_the_bare_executor(sst2_data, monkeypatch, capsys, what, flags, words):
    config = CONFIG | {'max_position_embeddings': 128}
    model = write_model(sst2_data / 'model', random_parameters(config), config)
    monkeypatch.setattr(common, 'limit_cores', lambda count: None)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    flags = [*flags, '--data', sst2_data, '--model', model / 'params', '--steps', 2]
    assert step_program.main([what, *map(str, flags)]) in (0, what == 'overhead')  # 1: above the limit
    out = capsys.readouterr().out
    assert all(word in out for word in words), out
    assert not (ROOT / 'profiler_log').exists(), 'the profiler left its traces'


@pytest.mark.slow
def test_three_kills_while_saving(tmp_path, capsys):
    assert kill_while_saving.main(['--kills', '3', '--longest', '0.4', '--folder', str(tmp_path / 'run')]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == '3 of 3 restarts found whole checkpoints'
    assert Checkpoints(tmp_path / 'run').steps(), 'nothing was saved'


# ---------------------------------------------------------------- the judge of kill_while_saving


@pytest.fixture(scope='module')
def trained():
    return kill_while_saving.small_training_program()


@pytest.fixture
def saved(tmp_path, trained):
    """Checkpoints of steps 1 to 4 (the first is deleted again) and `best` of step 4."""
    session, program = trained
    checkpoints = Checkpoints(tmp_path, keep=kill_while_saving.KEEP)
    for step in range(1, 5):
        kill_while_saving.set_values(session, program, step)
        checkpoints.save(session, program, {'global_step': step, 'random_state': session.random_state()})
    save_checkpoint(tmp_path / 'best', session, program, {'global_step': 4}, weights_only=True)
    return tmp_path


def faults(folder, trained, least_step=4, least_best=4):
    return kill_while_saving.check_restart(str(folder), *trained, least_step, least_best)


def test_a_whole_folder_has_no_faults(saved, trained):
    assert faults(saved, trained) == (4, 4, [])


def test_a_tensor_of_another_step_is_found(saved, trained):
    shutil.copy(saved / 'step_3' / 'optimizer.safetensors', saved / 'step_4')
    found = faults(saved, trained)[2]
    assert found and all('step_4' in fault for fault in found)


@pytest.mark.parametrize('file', ['model.safetensors', 'optimizer.safetensors'])
def test_a_missing_file_of_an_old_checkpoint_is_found(saved, trained, file):
    (saved / 'step_2' / file).unlink()
    step, best, found = faults(saved, trained)
    assert (step, best, len(found)) == (4, 4, 1) and file in found[0]


def test_a_lost_checkpoint_is_found(saved, trained):
    shutil.rmtree(saved / 'step_4')
    shutil.rmtree(saved / 'best')
    step, best, found = faults(saved, trained)
    assert (step, best) == (3, 0) and ['newest' in found[0], 'best' in found[1]] == [True, True]


def test_leftovers_are_mended_or_found(saved, trained):
    dead_workplace(saved, 'step_5')
    (saved / 'best').rename(dead_workplace(saved, 'best') / 'old')
    assert faults(saved, trained) == (4, 4, [])
    (saved / 'step_9').mkdir()  # a deletion that was cut off after the state file
    assert faults(saved, trained)[2] == ['step_9 is left after recovery']


# ---------------------------------------------------------------- what the programs that pre-train count


@pytest.fixture
def listed(tmp_path):
    """(file list, samples of its two files), with labels of several tasks."""
    files, samples = write_files(tmp_path, [17, 30])
    path = tmp_path / 'filelist'
    path.write_text(''.join(f'{file.path}\t{file.word_probability}\n' for file in files), encoding='utf-8')
    return str(path), samples[0] + samples[1]


@pytest.mark.parametrize('name', ['sentence_distance', 'capitalization'])
def test_labels_of_each_class_are_counted(listed, name):
    path, samples = listed
    labels = [np.atleast_1d(sample.labels[name]) for sample in samples if name in sample.labels]
    labels = np.concatenate(labels)
    expected = [(labels == c).sum() for c in range(TASKS[name].num_classes)]
    assert pretrain_tasks.class_counts(path, name).tolist() == expected and min(expected) > 0


def test_the_unigram_entropy_is_that_of_the_tokens_that_validation_masks(listed, tmp_path):
    path, samples = listed
    vocab = tmp_path / 'vocab.txt'
    special = ['[PAD]', '[CLS]', '[SEP]', '[MASK]']
    vocab.write_text('\n'.join([*special, '[UNK]', *(f'w{i}' for i in range(5, IDS.size))]) + '\n', encoding='utf-8')
    config = pretraining.model_config(str(tmp_path / 'config.json'), vocab, 1, 64, 128)
    found, share = pretrain_gain.unigram({'train': path, 'valid': path}, vocab, config)
    vocabulary = -(-IDS.size // 8) * 8
    counts = np.zeros(vocabulary)
    for sample in samples:
        np.add.at(counts, sample.token_ids[sample.segments >= 0], 1)
    # Nearly uniform ids below 97, so that any choice of masked tokens has about the entropy of all.
    probabilities = (counts + 1) / (counts.sum() + vocabulary - len(special))
    every = counts / counts.sum()
    assert found == pytest.approx(-(every * np.log(probabilities)).sum(), abs=0.1)
    masked = [s for s in samples if 'knowledge_masking' in s.labels]
    expected = 0.15 * sum((s.segments >= 0).sum() for s in masked) / len([s for s in samples if s.labels])
    assert share == pytest.approx(expected / (1 + expected), abs=0.1)


def test_stages_become_a_schedule_and_its_ends(listed, tmp_path):
    lists = dict.fromkeys(pretrain_stages.TASKS, listed[0])
    ends = pretrain_stages.write_schedule(str(tmp_path / 's.json'), lists, pretrain_stages.STAGES, 10)
    schedule = read_schedule(str(tmp_path / 's.json'))
    assert ends == [30, 60, 100] and schedule.total == 100
    assert [stage.steps['knowledge_masking'] for stage in schedule.stages] == [30, 10, 10]
    assert [stage.learning_rate for stage in schedule.stages] == [1e-3, 5e-4, 5e-4]


def test_lists_of_both_maskings_name_the_same_files(listed, tmp_path):
    written = pretraining.write_lists(str(tmp_path), {'valid': listed[0]})
    words, characters = (read_file_list(written['valid', kind]) for kind in ('word', 'character'))
    assert [file.path for file in words] == [file.path for file in characters]
    assert {file.word_probability for file in words} == {1.1}
    assert {file.word_probability for file in characters} == {0.0}


# ---------------------------------------------------------------- the judge of resume_equal


def test_one_bit_of_a_tensor_is_found(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    other = array.copy()
    other[1, 2] = np.nextafter(other[1, 2], np.float32(np.inf))
    paths = [str(tmp_path / f'{i}.safetensors') for i in range(3)]
    for path, first in zip(paths, (array, other, array), strict=True):
        write_safetensors(path, {'a': first, 'b': np.array([np.nan, -0.0], np.float32)})
    assert resume_equal.different_tensors(paths[0], paths[1]) == ['a']
    assert resume_equal.different_tensors(paths[0], paths[2]) == []
    write_safetensors(paths[2], {'a': array})
    assert resume_equal.different_tensors(paths[0], paths[2]) == ['b']


def test_records_differ_by_anything_but_the_clock(tmp_path):
    def write(name, losses, speed):
        with MetricsFile(tmp_path / name) as metrics:
            for step, loss in enumerate(losses, start=1):
                values = {'loss': loss, 'steps_per_second': speed, 'tokens_per_second': 9 * speed}
                metrics.append('train', step, 0, values)
        return str(tmp_path / name)

    whole = write('a', [0.5, 0.25, 0.125], 3.0)
    assert resume_equal.different_records(whole, write('b', [0.5, 0.25, 0.125], 4.0)) == []
    assert len(resume_equal.different_records(whole, write('c', [0.5, 0.2500001, 0.125], 3.0))) == 1
    assert len(resume_equal.different_records(whole, write('d', [0.5, 0.25], 3.0))) == 1


# ---------------------------------------------------------------- rates of a run


def test_training_rates(tmp_path):
    """21 steps of 3 rows, logged after 8 and 16: 4 s and 2 s."""
    with MetricsFile(tmp_path / 'metrics.jsonl') as metrics:
        for step, seconds, tokens in ((8, 4.0, 600), (16, 2.0, 300)):
            rates = {'steps_per_second': 8 / seconds, 'tokens_per_second': tokens / seconds}
            metrics.append('train', step, 0, {'loss': 1.0, **rates})
        metrics.append('dev', 21, 0, {'acc': 0.5})
    os.mkdir(tmp_path / 'step_21')
    state = {'global_step': 21, 'hooks': {'training_log': {'epoch': 0, 'rows_done': 63}}}
    (tmp_path / 'step_21' / 'training_state.json').write_text(json.dumps(state))
    rates = sst2.training_rates(tmp_path)
    assert rates == {'steps': 16, 'seconds': 6.0, 'rows_per_second': 16 * 3 / 6, 'tokens_per_second': 900 / 6}


def test_rates_of_an_empty_run_are_refused(tmp_path):
    MetricsFile(tmp_path / 'metrics.jsonl').close()
    with pytest.raises(UserError, match='no logged training step'):
        sst2.training_rates(tmp_path)


def rival_flags(script, *more):
    flags = ['--rival_python', sys.executable, '--rival_script', str(script), '--rival_model', 'm', '--data', 'd']
    return sst2.parse_flags(['rival', *flags, *more])


def test_rival_is_read_and_its_failure_is_told(tmp_path):
    script = tmp_path / 'ft.py'
    script.write_text(
        'import json, sys\n'
        "assert ('--bf16' in sys.argv) == ('7' in sys.argv)\n"
        "steps = int(sys.argv[sys.argv.index('--max_steps') + 1])\n"
        "print('loading')\n"
        'print(json.dumps(dict(samples_s=80.5, real_tok_s=1900, steps=steps)))\n'
    )
    assert sst2.rival_rates(rival_flags(script, '--steps', '20'), 'fp32', 42) == (80.5, 1900.0)
    assert sst2.rival_rates(rival_flags(script, '--steps', '20'), 'bf16', 7) == (80.5, 1900.0)
    script.write_text("import sys\nsys.exit('no such model')\n")
    with pytest.raises(UserError, match='ft.py: found exit code 1, expected 0 .*no such model'):
        sst2.rival_rates(rival_flags(script), 'fp32', 42)
    with pytest.raises(UsageError, match='multiple of 10'):
        rival_flags(script, '--steps', '15')
    with pytest.raises(UsageError, match='--sides fp8: expected some of plain, fp32, bf16'):
        rival_flags(script, '--sides', 'fp8')
    with pytest.raises(UsageError, match='give --model'):
        rival_flags(script, '--task', 'chnsenticorp')


def test_the_ratio_to_the_rival_is_that_of_medians():
    args = rival_flags('ft.py', '--sides', 'bf16,plain', '--steps', '10')
    rates = {('ours', 'bf16'): [(3, 30), (9, 90), (6, 60)], ('ours', 'plain'): [(2, 20)] * 3}
    assert sst2.rival_report(args, rates | {('rival', 'bf16'): [(4, 80), (1, 20), (2, 40)]}) == [
        'ft.py, sst2_en, 10 steps, median of 3, 2 cores',
        ' bf16        rows/s: ours      6.0, rival      2.0, ratio 3.000',
        ' bf16 real tokens/s: ours     60.0, rival     40.0, ratio 1.500',
        'plain        rows/s: ours      2.0',
        'plain real tokens/s: ours     20.0',
    ]


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize('count', [0, 1, 3, 4, 6, 9])
def test_first_questions(count):
    paragraphs = [('甲', 3), ('乙', 0), ('丙', 1), ('丁', 2)]
    made = [{'context': c, 'qas': [{'id': f'{c}{i}'} for i in range(n)]} for c, n in paragraphs]
    document = {'version': '1.1', 'data': [{'paragraphs': made[:2]}, {'paragraphs': made[2:], 'title': '题'}]}
    kept = reading.first_questions(document, count)
    ids = [qa['id'] for article in kept['data'] for p in article['paragraphs'] for qa in p['qas']]
    assert ids == ['甲0', '甲1', '甲2', '丙0', '丁0', '丁1'][:count]
    assert all(p['qas'] for article in kept['data'] for p in article['paragraphs'])


@pytest.mark.parametrize('data, text', [(None, 'give --data'), ('none', 'none/xquad/train.en.json')])
def test_reading_without_data(tmp_path, data, text):
    with pytest.raises(UserError, match=text):
        reading.files_of(data, 'known', tmp_path)


def test_pretraining_reader(tmp_path, capsys):
    """Rates are measured, and the masks have their proportions."""
    vocab = ['[PAD]', '[CLS]', '[SEP]', '[MASK]', '[UNK]', *map(str, range(92))]
    (tmp_path / 'vocab.txt').write_text('\n'.join(vocab), encoding='utf-8')
    rng = np.random.default_rng(3)
    write_samples(tmp_path / 'a.gz', [random_sample(rng) for _ in range(3000)])
    (tmp_path / 'list').write_text('a.gz\t1.1\n')
    flags = [
        '--filelist',
        str(tmp_path / 'list'),
        '--vocab',
        str(tmp_path / 'vocab.txt'),
        '--samples',
        '20',
        '--repeat',
    ]
    pretrain_reader.main([*flags, '1'])
    out = capsys.readouterr().out
    assert int(re.search(r'padding: ([\d,]+) tokens a second', out)[1].replace(',', '')) > 1000
    rows = [line.split('\t') for line in out.splitlines()]
    found = {row[0]: [float(share) for share in row[1:]] for row in rows if row[0].startswith('mask_')}
    for shares in found.values():
        assert shares == pytest.approx([15, 80, 10, 10], abs=2)
        assert sum(shares[1:]) == pytest.approx(100, abs=0.02)
    assert len(found) == 2
    worst = max(abs(a - b) for shares in found.values() for a, b in zip(shares, [15, 80, 10, 10], strict=True))
    assert f'largest difference: {worst:.2f} points' in out
    with pytest.raises(UsageError, match='--repeat must be'):
        pretrain_reader.main([*flags, '0'])


def test_long_lines_are_the_texts_one_after_the_other(tmp_path):
    rng = np.random.default_rng(4)
    samples = [random_sample(rng) for _ in range(50)]
    path = write_samples(tmp_path / 'a.gz', samples)
    text = [i for s in samples for i, segment in zip(s.token_ids, s.segments, strict=True) if segment >= 0]
    lines = [parse_line(line) for line in pretrain_reader.long_lines(concatenated(list(read_sets(path))), 3, IDS)]
    assert all(len(line.token_ids) == 512 for line in lines)
    found = [i for line in lines for i, segment in zip(line.token_ids, line.segments, strict=True) if segment >= 0]
    assert found == (text * 10)[: 3 * 509]
    for line in lines:
        assert np.flatnonzero(line.segments == -1).tolist() == [0, 255, 511]
        assert line.sentence_types.sum() == 512 - 256
