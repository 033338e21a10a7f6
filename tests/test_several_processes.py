"""The fine-tuning programs in several processes, and with accumulation: the result of one process."""

import contextlib
import importlib
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from propeller.storage import open_tensors
from tests import processes
from tests.ernie import tiny_reading, tiny_tagging
from tests.ernie.tiny_model import CONFIG, SETTINGS, flags, sentences, table, write_model

NO_DROPOUT = {**CONFIG, 'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}
STEPS = 21  # three epochs of rows
# Biases that move all scores of a softmax alike: their gradient is 0, and what rounding leaves of it Adam makes as
# large as any other. In reading the softmax goes over the positions.
KEYS = 'key_fc.b_0'
UNFELT = {False: (KEYS,), True: (KEYS, 'cls_mrc_out_b', 'encoder_layer_1_post_ffn_layer_norm_bias')}


@pytest.fixture(scope='module')
def plain_model(tmp_path_factory):
    """Folder of a small random model without dropout."""
    return write_model(tmp_path_factory.mktemp('model') / 'ernie', config=NO_DROPOUT)


@pytest.fixture(scope='module')
def tasks(tmp_path_factory, plain_model):
    """dict task -> (program, its flags): 101 rows of unequal length in each training set."""
    folder = tmp_path_factory.mktemp('data')
    common = {**SETTINGS, 'init_pretraining_params': plain_model / 'params', 'learning_rate': 1e-3}
    text = table(folder / 'text.tsv', sentences(101, 1))
    text_dev = table(folder / 'text_dev.tsv', sentences(23, 2))
    tags = tiny_tagging.write_rows(folder / 'tags.tsv', tiny_tagging.sentences(101, 3))
    tags_dev = tiny_tagging.write_rows(folder / 'tags_dev.tsv', tiny_tagging.sentences(23, 4))
    questions = tiny_reading.write_puzzles(folder / 'q.json', 37, 5)
    questions_dev = tiny_reading.write_puzzles(folder / 'q_dev.json', 11, 6)
    return {
        'classification': ('run_classifier.py', {**common, 'train_set': text, 'dev_set': text_dev}),
        'weighted': ('run_classifier.py', {**common, 'train_set': text, 'class_weights': '0.2,3'}),
        'tagging': (
            'run_sequence_labeling.py',
            {
                **common,
                'train_set': tags,
                'dev_set': tags_dev,
                'label_map_config': tiny_tagging.write_map(folder / 'map.json'),
            },
        ),
        'reading': (
            'run_mrc.py',
            {**common, **tiny_reading.MRC_SETTINGS, 'train_set': questions, 'dev_set': questions_dev},
        ),
    }


def launch(count, program, dropout=True, **values):
    """Run a program in `count` processes of one thread each, a single one in this process; returns the first's log.

    dropout: False for none in the head either.
    """
    values |= {} if dropout else {'head_dropout': 0}
    if count == 1:
        with contextlib.redirect_stderr(io.StringIO()) as log:
            importlib.import_module(program.removesuffix('.py')).main(flags(**values))
        return log.getvalue()
    found = processes.run(count, [program, *flags(**values)])
    assert [code for code, _, _ in found] == [0] * count, '\n'.join(err for _, _, err in found)
    return found[0][2]


def parameters(folder):
    """dict name -> array of the newest checkpoint in `folder`."""
    (newest,) = sorted(folder.glob('step_*'), key=lambda path: int(path.name[5:]))[-1:]
    tensors = open_tensors(newest)
    return {name: tensors[name] for name in tensors}


@pytest.mark.slow
@pytest.mark.parametrize('task', ['classification', 'weighted', 'tagging', 'reading'])
def test_several_processes_and_parts_do_what_one_does(tmp_path, tasks, task):
    program, values = tasks[task]
    # What bfloat16 rounds depends on how rows are shared out.
    values = {
        **values,
        'precision': 'fp32',
        'epoch': 30,
        'max_steps': STEPS,
        'do_val': False,
        'do_test': False,
        'skip_steps': 7,
    }
    ways = {'whole': (1, 16, 1), 'processes': (2, 8, 1), 'parts': (1, 4, 4)}
    ways |= {'both': (2, 4, 2)} if task == 'classification' else {}
    found, losses = {}, {}
    for way, (count, batch_size, parts) in ways.items():
        launch(
            count,
            program,
            dropout=False,
            **{**values, 'batch_size': batch_size},
            gradient_accumulation_steps=parts,
            checkpoints=tmp_path / way,
        )
        found[way] = parameters(tmp_path / way)
        lines = (tmp_path / way / 'metrics.jsonl').read_text().splitlines()
        losses[way] = [{k: r.get(k) for k in ('step', 'loss', 'acc', 'f1')} for r in map(json.loads, lines)]
    assert len(losses['whole']) == STEPS // 7
    for way in ways.keys() - {'whole'}:
        assert found[way].keys() == found['whole'].keys()
        for name, value in found['whole'].items():
            atol = 0.1 if name.endswith(UNFELT[task == 'reading']) else 1e-6
            np.testing.assert_allclose(found[way][name], value, rtol=0, atol=atol, err_msg=f'{way}: {name}')
        for ours, theirs in zip(losses[way], losses['whole'], strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize('task', ['classification', 'tagging', 'reading'])
def test_evaluation_and_prediction_are_shared_byte_for_byte(tmp_path, tasks, task):
    program, values = tasks[task]
    trained = {**values, 'epoch': 1, 'do_val': False, 'do_test': False, 'checkpoints': tmp_path / 'c'}
    launch(1, program, **trained)
    (checkpoint,) = (tmp_path / 'c').glob('step_*')
    files = {}
    for count in (1, 2, 3) if task == 'classification' else (1, 2):
        folder = tmp_path / f'by_{count}'
        kept = {k: v for k, v in values.items() if k not in ('train_set', 'init_pretraining_params')}
        launch(
            count,
            program,
            **{**kept, 'batch_size': 2},
            init_checkpoint=checkpoint,
            do_train=False,
            test_set=values['dev_set'],
            test_save=folder / 'out',
            checkpoints=folder,
        )
        files[count] = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}
        files[count] = {name: data for name, data in files[count].items() if not name.endswith(('.png', '.html'))}
        score = json.loads(files[count].pop('evaluation.jsonl').splitlines()[0])
        files[count]['score'] = {k: v for k, v in score.items() if k not in ('time', 'elapsed')}
        (summary,) = (name for name in files[count] if name.endswith('.summary.json'))
        files[count][summary] = re.sub(rb'"elapsed": [0-9.e-]+', b'', files[count][summary])
    assert len(files[1]) >= 2
    assert all(found == files[1] for found in files.values())


@pytest.mark.slow
def test_a_run_of_two_processes_is_resumed_exactly(tmp_path, model, tasks):
    """With dropout: every process has its own random numbers, and all of them are in the checkpoint."""
    program, values = tasks['classification']
    values = {**values, 'init_pretraining_params': model / 'params', 'batch_size': 3, 'epoch': 2, 'do_test': False}
    values |= {'validation_steps': 5, 'skip_steps': 3, 'gradient_accumulation_steps': 2, 'warmup_proportion': 0.0}
    log = launch(2, program, **values, checkpoints=tmp_path / 'whole')
    launch(2, program, **values, checkpoints=tmp_path / 'cut', max_steps=7)
    again = launch(2, program, **values, checkpoints=tmp_path / 'cut', resume=True)
    last = json.loads((tmp_path / 'whole/metrics.jsonl').read_text().splitlines()[-1])
    steps = 2 * -(-101 // (3 * 2 * 2))  # 18; 2 * 101 // 12 is 16
    assert last['step'] == steps and all(f'Max train steps: {steps}\n' in text for text in (log, again))
    whole, cut = parameters(tmp_path / 'whole'), parameters(tmp_path / 'cut')
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(cut[name], value, err_msg=name)


def test_one_seed_is_one_result_and_ranks_drop_out_apart(tmp_path, model, tasks):
    program, values = tasks['classification']
    values = {**values, 'init_pretraining_params': model / 'params', 'do_val': False, 'do_test': False, 'max_steps': 4}
    for name in ('a', 'b'):
        launch(2, program, **values, checkpoints=tmp_path / name)
    a, b = parameters(tmp_path / 'a'), parameters(tmp_path / 'b')
    for name, value in a.items():
        np.testing.assert_array_equal(b[name], value, err_msg=name)
    state = json.loads((tmp_path / 'a' / 'step_4' / 'training_state.json').read_text())
    assert len(state['random_states']) == 2 and state['random_states'][0] != state['random_states'][1]


@contextlib.contextmanager
def under_way(folder, model, tasks):
    """Two processes of a training without end, past its third update."""
    program, values = tasks['classification']
    values = {**values, 'init_pretraining_params': model / 'params', 'epoch': 10_000, 'skip_steps': 1}
    started = processes.start(2, [program, *flags(**values, do_test=False, validation_steps=10**6, checkpoints=folder)])
    try:
        for line in started[0].stderr:
            if 'step: 3,' in line:
                break
        yield started
    finally:
        for process in started:
            process.kill()


@pytest.mark.slow
def test_sigterm_to_one_process_saves_once_and_ends_all(tmp_path, model, tasks):
    with under_way(tmp_path / 'c', model, tasks) as started:
        started[1].terminate()
        ends = [process.communicate(timeout=60) for process in started]
        assert [process.returncode for process in started] == [130, 130], ends
    assert len(list((tmp_path / 'c').glob('step_*'))) == 1


def test_a_lost_process_is_said_in_one_line(tmp_path, model, tasks):
    with under_way(tmp_path / 'c', model, tasks) as started:
        started[1].kill()
        _, err = started[0].communicate(timeout=60)
        assert started[0].returncode == 75
        assert [line for line in err.splitlines() if 'process 0 of 2: another process of the job ended' in line], err
        assert 'Traceback' not in err


def test_paddles_own_launcher_starts_it(tmp_path, model, tasks):
    program, values = tasks['classification']
    values = {**values, 'init_pretraining_params': model / 'params', 'max_steps': 3, 'do_val': False, 'do_test': False}
    command = [sys.executable, '-m', 'paddle.distributed.launch', '--nproc_per_node', '2', '--backend', 'gloo']
    command += ['--log_dir', str(tmp_path / 'log'), program, *flags(**values, checkpoints=tmp_path / 'c')]
    done = subprocess.run(command, cwd=processes.ROOT, env=os.environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'process 0 of 2, 2 of them on this machine' in done.stdout + done.stderr
    assert (tmp_path / 'c' / 'step_3').is_dir()
