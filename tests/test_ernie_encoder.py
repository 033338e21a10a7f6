"""The program from its flags to its files, on a small model; and what it says to mistakes."""

import contextlib
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ernie_encoder
from ernie.config import ErnieConfig
from ernie.inference import embedding
from propeller.errors import UserError
from propeller.graph import cuda_devices
from propeller.storage import open_tensors, write_safetensors
from script.documents.page import Page
from tests.ernie.tiny_model import (
    CONFIG,
    TASK_CONFIG,
    VOCABULARY,
    Ran,
    flags,
    messages,
    random_parameters,
    run,
    sentences,
    table,
    write_model,
    write_table,
)
from tests.test_readme import blocks, check_flags

ROOT = Path(__file__).parents[1]
DEFAULTS = {
    'ernie_config_path': None,
    'init_pretraining_params': None,
    'output_dir': 'embeddings',
    'data_set': None,
    'vocab_path': None,
    'sentence_piece_model': None,
    'word_dict': None,
    'allow_unused': '',
    'max_seq_len': None,
    'batch_size': 32,
    'do_lower_case': None,
    'use_cuda': None,
    'tokenizer': None,
    'task_id': None,
    'skip_bad_rows': False,
    'cache': True,
    'pooling': 'pooled',
    'layer': None,
    'text_column': None,
    'text_b_column': None,
    'normalize': False,
    'top_layer': True,
    'cpu_threads': None,
    'log_level': None,
}


def test_flags_are_frozen():
    assert vars(ernie_encoder.build_parser().parse_args([])) == DEFAULTS


@pytest.fixture
def encode(tmp_path, model):
    """Function (flags) -> `Ran`: the program in this process, on `model` and into `tmp_path / 'out'`."""

    def start(**values):
        settings = {'init_pretraining_params': model, 'output_dir': tmp_path / 'out', 'use_cuda': False, 'cache': False}
        with contextlib.redirect_stderr(io.StringIO()) as log, contextlib.redirect_stdout(io.StringIO()) as out:
            ernie_encoder.main(flags(**(settings | values)))
        return Ran(log.getvalue(), out.getvalue())

    return start


@pytest.fixture
def texts(tmp_path):
    """A file of 23 texts without labels."""
    return write_table(tmp_path / 'texts.tsv', ['text_a'], [(text,) for text, _ in sentences(23, 4)])


def arrays(folder):
    return {path.stem: np.load(path, allow_pickle=False) for path in sorted(folder.iterdir())}


def test_files_and_lines_of_2019(tmp_path, encode, texts):
    ran = encode(data_set=texts)
    assert ran.out == 'Device count: 1\nTotal num examples: 23\n'
    found = arrays(tmp_path / 'out')
    lengths = [len(text) + 2 for text, _ in sentences(23, 4)]
    assert list(found) == ['cls_emb', 'offsets', 'top_layer_emb']
    assert found['cls_emb'].shape == (23, 12) and found['cls_emb'].dtype == np.float32
    assert found['top_layer_emb'].shape == (sum(lengths), 12) and found['top_layer_emb'].dtype == np.float32
    np.testing.assert_array_equal(found['offsets'], np.cumsum([0, *lengths]))
    said = messages(ran.log)
    assert f'{tmp_path}/out/cls_emb.npy: the pooled output' in said
    assert f'{tmp_path}/out/top_layer_emb.npy: layer 2' in said
    assert 'pooling: pooled' in said and 'hidden_size: 12' in said
    # The pooled output is a function of the first token of the last layer: the files belong together.
    parameters = random_parameters()
    first = found['top_layer_emb'][found['offsets'][:-1]].astype(np.float64)
    pooled = np.tanh(first @ parameters['pooled_fc.w_0'] + parameters['pooled_fc.b_0'])
    np.testing.assert_allclose(found['cls_emb'], pooled, atol=1e-5)


def test_each_text_gives_what_it_gives_alone(tmp_path, encode):
    """Pairs, texts of odd lengths, an empty one, one that is cut, in a file with columns nobody asked for."""
    rows = [(f'x{i}', a, b) for i, ((a, _), (b, _)) in enumerate(zip(sentences(9, 1), sentences(9, 2), strict=True))]
    rows += [('y', '', ''), ('z', 'finely poor,的', '的' * 30), ('z', '好' * 40, ''), ('w', '的', 'fine')]
    data = write_table(tmp_path / 'pairs.tsv', ['source', 'text_a', 'text_b'], rows)
    encode(data_set=data, pooling='mean', layer=1, normalize=True, batch_size=4)
    found = arrays(tmp_path / 'out')
    np.testing.assert_allclose(np.linalg.norm(found['cls_emb'], axis=1), 1, atol=1e-6)
    assert list(np.diff(found['offsets'])[-4:]) == [2, 17, 17, 5]
    for i in range(0, len(rows), 3):
        alone = write_table(tmp_path / f'{i}.tsv', ['source', 'text_a', 'text_b'], [rows[i]])
        encode(data_set=alone, pooling='mean', layer=1, normalize=True, output_dir=tmp_path / f'out{i}')
        single = arrays(tmp_path / f'out{i}')
        np.testing.assert_allclose(found['cls_emb'][i], single['cls_emb'][0], atol=1e-5)
        tokens = found['top_layer_emb'][slice(*found['offsets'][i : i + 2])]
        np.testing.assert_allclose(tokens, single['top_layer_emb'], atol=1e-5)


def test_the_second_text_has_the_second_type(tmp_path, encode, model):
    """In the embeddings, types are a sum: the same words as one text and as a pair differ from the second text on."""
    encode(data_set=write_table(tmp_path / 'p.tsv', ['text_a', 'text_b'], [('的一', '是')]), layer=0)
    encode(data_set=write_table(tmp_path / 's.tsv', ['text_a'], [('的一[SEP]是',)]), layer=0, output_dir=tmp_path / 'o')
    pair, single = arrays(tmp_path / 'out')['top_layer_emb'], arrays(tmp_path / 'o')['top_layer_emb']
    parameters = random_parameters()
    ids = [VOCABULARY.index(word) for word in ('[CLS]', '的', '一', '[SEP]', '是', '[SEP]')]
    types = np.array([0, 0, 0, 0, 1, 1])
    total = parameters['word_embedding'][ids] + parameters['pos_embedding'][:6] + parameters['sent_embedding'][types]
    centred = (total - total.mean(1, keepdims=True)).astype(np.float64)
    expected = centred / np.sqrt((centred**2).mean(1, keepdims=True) + ErnieConfig(CONFIG).layer_norm_eps)
    np.testing.assert_allclose(pair, expected, atol=1e-5)
    assert len(single) != len(pair) or np.abs(single - pair).max() > 1e-3


def test_an_english_configuration_with_task_embedding(tmp_path, encode, texts):
    """known problem 42: `sent_type_vocab_size` instead of `type_vocab_size`."""
    config = {k: v for k, v in TASK_CONFIG.items() if k != 'type_vocab_size'} | {'sent_type_vocab_size': 4}
    model = write_model(tmp_path / 'english', config=config)
    for task in (None, 0, 2):
        encode(data_set=texts, init_pretraining_params=model, task_id=task, output_dir=tmp_path / f'{task}')
    found = [arrays(tmp_path / str(task))['cls_emb'] for task in (None, 0, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[1] - found[2]).max() > 1e-3


@pytest.mark.parametrize('for_cn', [False, True])
def test_a_checkpoint_of_ours_with_the_settings_of_its_training(tmp_path, encode, train, for_cn):
    rows = [(' '.join(text) if i % 2 else text, label) for i, (text, label) in enumerate(sentences(16, 1))]
    settings = {'tokenizer': 'CharTokenizer', 'for_cn': for_cn}  # where there is no space, it sees one unknown word
    train(train_set=table(tmp_path / 't.tsv', rows), do_val=False, epoch=1, **settings)
    checkpoint = tmp_path / 'c/step_2'
    ran = encode(data_set=tmp_path / 't.tsv', init_pretraining_params=checkpoint)
    said = messages(ran.log)
    assert any(line.startswith('tokenizer: CharTokenizer, do_lower_case: True, task_id: 0') for line in said)
    assert 'not used: _cls_out_b, _cls_out_w' in said
    words = [1 if for_cn else len(text.split()) for text, _ in rows]
    np.testing.assert_array_equal(np.diff(arrays(tmp_path / 'out')['offsets']), [count + 2 for count in words])
    # The classifier's probabilities are a function of the vectors, so both programs must see the same texts alike.
    run(
        init_checkpoint=checkpoint,
        do_train=False,
        **settings,
        test_set=tmp_path / 't.tsv',
        test_save=tmp_path / 'p',
        checkpoints=tmp_path / 'e',
    )
    head = open_tensors(str(checkpoint))
    logits = arrays(tmp_path / 'out')['cls_emb'] @ head['_cls_out_w'] + head['_cls_out_b']
    share = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    lines = (tmp_path / 'p.0.2').read_text(encoding='utf-8').splitlines()
    predicted = [float(line.split('\t')[1].strip('[]').split()[1]) for line in lines]
    np.testing.assert_allclose(share, predicted, atol=1e-5)


def test_parameters_alone_with_files_elsewhere(tmp_path, encode, model, texts):
    (tmp_path / 'alone').mkdir()
    write_safetensors(tmp_path / 'alone/weights.safetensors', random_parameters())
    encode(data_set=texts)
    encode(
        data_set=texts,
        init_pretraining_params=tmp_path / 'alone/weights.safetensors',
        ernie_config_path=model / 'ernie_config.json',
        vocab_path=model / 'vocab.txt',
        output_dir=tmp_path / 'other',
    )
    for name, value in arrays(tmp_path / 'out').items():
        np.testing.assert_array_equal(arrays(tmp_path / 'other')[name], value)


def test_rows_that_cannot_be_read_are_left_out_and_the_lines_told(tmp_path, encode):
    data = tmp_path / 'bad.tsv'
    data.write_bytes('text_a\n的一\n一\t二\n'.encode() + b'\xff\n' + '好好好\n'.encode())
    ran = encode(data_set=data, skip_bad_rows=True, top_layer=False)
    found = arrays(tmp_path / 'out')
    assert list(found) == ['cls_emb', 'lines'] and found['cls_emb'].shape == (2, 12)
    assert found['lines'].tolist() == [2, 5]
    assert f'skipped {data}:3: found 2 cells, expected 1 as in the header (text_a)' in messages(ran.log)


def test_the_second_run_reads_the_tokens_from_the_cache(tmp_path, encode, texts, monkeypatch):
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    logs = [encode(data_set=texts, cache=True, output_dir=tmp_path / str(i)).log for i in range(2)]
    assert 'tokenized' in logs[0] and 'from the cache' not in logs[0] and 'from the cache' in logs[1]
    for name, value in arrays(tmp_path / '0').items():
        np.testing.assert_array_equal(arrays(tmp_path / '1')[name], value)


def test_the_page_runs_as_it_stands(tmp_path, encode, monkeypatch, capsys):
    """Its model is a tiny one here, so only the form of the output is as the page shows it."""
    page = ROOT / 'docs/encoder.md'
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / 'minilm', config={**CONFIG, 'num_hidden_layers': 6})
    run = [block for block in Page(page).blocks if block.mark != 'not run']
    for block in [block.text for block in run if block.language == 'sh']:
        for line in block.replace('\\\n', ' ').splitlines():
            if line.startswith('python'):
                check_flags(ernie_encoder.build_parser(), shlex.split(line)[2:])
                ernie_encoder.main([*shlex.split(line)[2:], '--cache', 'false'])
            else:
                subprocess.run(['sh', '-c', line], check=True)
    capsys.readouterr()
    (code,) = (block.text for block in run if block.language == 'python')
    exec(compile(code, page.name, 'exec'), {})
    lines = capsys.readouterr().out.splitlines()
    shown = blocks(page, 'text')[1].splitlines()
    assert [line.split('  ')[1] for line in lines[:6]] == [line.split('  ')[1] for line in shown[:6]]
    assert len(lines) == len(shown) and arrays(tmp_path / 'layer4').keys() == {'cls_emb'}


# ------------------------------------------------------------------------------------------ mistakes


def spoilt(encode, **values):
    """Text and exit code of the error that these flags end in."""
    with pytest.raises(UserError) as caught:
        encode(**values)
    assert '\n' not in str(caught.value)
    return str(caught.value), caught.value.exit_code


@pytest.mark.parametrize('kind', ['folder', 'file', 'link'])
def test_an_existing_output_is_refused_before_any_work(tmp_path, encode, texts, kind, monkeypatch):
    out = tmp_path / 'out'
    if kind == 'folder':
        out.mkdir()
        (out / 'cls_emb.npy').write_text('mine')
    elif kind == 'file':
        out.write_text('mine')
    else:
        out.symlink_to(tmp_path / 'nowhere')
    before = sorted((path, path.lstat().st_mtime_ns) for path in tmp_path.rglob('*'))
    monkeypatch.setattr(embedding, 'Source', None)  # opening the model would fail
    text, code = spoilt(encode, data_set=texts)
    assert code == 1 and f'{out}: exists already' in text and '--output_dir' in text
    assert sorted((path, path.lstat().st_mtime_ns) for path in tmp_path.rglob('*')) == before


def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path, encode, texts, monkeypatch):
    write = embedding.write_vectors

    def slow(*args):
        write(*args)
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out/mine').write_text('mine')

    monkeypatch.setattr(embedding, 'write_vectors', slow)
    text, code = spoilt(encode, data_set=texts)
    assert code == 1 and 'exists already' in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out', 'texts.tsv']
    assert (tmp_path / 'out/mine').read_text() == 'mine'


@pytest.mark.parametrize(
    ('content', 'parts'),
    [
        (None, ['data.tsv', 'no such file']),
        (b'', ['data.tsv', 'empty file']),
        ('number\n的\n', ['data.tsv:1', "'number'", "'text_a'"]),
        ('text_a\n', ['data.tsv', 'at least one row']),
        ('text_a\n的\n一\t二\n', ['data.tsv:3', '2 cells', '1 as in the header']),
        (b'text_a\n\xb0\xa1\n', ['data.tsv:2', '0xb0', 'UTF-8']),
    ],
)
def test_data_that_cannot_be_read(tmp_path, encode, content, parts):
    path = tmp_path / 'data.tsv'
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    text, code = spoilt(encode, data_set=path)
    assert code == 1 and all(part in text for part in parts), text
    assert {p.name for p in tmp_path.iterdir()} <= {'data.tsv'}


@pytest.mark.parametrize(
    ('values', 'parts'),
    [
        ({'init_pretraining_params': None}, ['--init_pretraining_params is missing']),
        ({'data_set': None}, ['--data_set is missing']),
        ({'pooling': 'median'}, ['--pooling median', 'cls, pooled, mean, max']),
        ({'tokenizer': 'Word'}, ['--tokenizer Word', 'FullTokenizer']),
        ({'layer': 3}, ['--layer 3', '1 to 2']),
        ({'layer': 1, 'top_layer': False}, ['--layer 1', '--pooling cls, mean or max']),
        ({'layer': 'last'}, ['--layer', "'last'"]),
        ({'batch_size': 0}, ['--batch_size 0', 'at least 1']),
        ({'max_seq_len': 2}, ['--max_seq_len 2', 'at least 3']),
        ({'max_seq_len': 18}, ['--max_seq_len 18', '17 positions']),
        ({'task_id': -1}, ['--task_id -1', 'at least 0']),
        ({'cpu_threads': 0}, ['--cpu_threads 0', 'at least 1']),
        ({'normalize': 'perhaps'}, ['--normalize', "'perhaps'", 'true or false']),
        ({'poling': 'cls'}, ['--poling']),
    ],
)
def test_flags_that_cannot_be(tmp_path, encode, texts, values, parts):
    text, code = spoilt(encode, **({'data_set': texts} | values))
    assert code == 2 and all(part in text for part in parts), text
    assert os.listdir(tmp_path) == ['texts.tsv']


@pytest.mark.parametrize(
    ('saved', 'found'), [({'tokenizer': ['x']}, "['x']"), ({'do_lower_case': 'no'}, "'no'"), ({'task_id': -1}, '-1')]
)
def test_a_checkpoint_whose_settings_cannot_be(tmp_path, encode, texts, saved, found):
    folder = write_model(tmp_path / 'm')
    (folder / 'labels.json').write_text(json.dumps(saved))
    text, code = spoilt(encode, data_set=texts, init_pretraining_params=folder)
    assert code == 1 and f'{folder}/labels.json: found {next(iter(saved))} {found}' in text


def test_a_model_of_another_size(tmp_path, encode, texts):
    path = tmp_path / 'config.json'
    path.write_text(json.dumps({**CONFIG, 'num_hidden_layers': 3}))
    text, code = spoilt(encode, data_set=texts, ernie_config_path=path)
    assert code == 1 and '16 missing: encoder_layer_2' in text and not (tmp_path / 'out').exists()


@pytest.mark.skipif(cuda_devices() > 0, reason='a GPU is there')
def test_no_gpu(tmp_path, encode, texts, monkeypatch):
    text, code = spoilt(encode, data_set=texts, use_cuda=True)
    assert code == 1 and '--use_cuda false' in text
    monkeypatch.setenv('FLAGS_selected_gpus', 'all')
    text, code = spoilt(encode, data_set=texts, use_cuda=True)
    assert code == 2 and "FLAGS_selected_gpus: found 'all'" in text


def test_a_folder_that_cannot_be_written(tmp_path, encode, texts):
    (tmp_path / 'file').write_text('')
    text, code = spoilt(encode, data_set=texts, output_dir=tmp_path / 'file/out')
    assert code == 1 and f'{tmp_path}/file: cannot write there' in text and '--output_dir' in text


def test_a_disk_that_fills_up(tmp_path, encode, texts, monkeypatch):
    def full(*args):
        (Path(args[0]) / 'cls_emb.npy').write_text('half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(embedding, 'write_vectors', full)
    text, code = spoilt(encode, data_set=texts)
    assert code == 1 and f'{tmp_path}/out: cannot be written (No space left on device).' in text
    assert os.listdir(tmp_path) == ['texts.tsv']


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_leaves_nothing_half_written(tmp_path, model, number):
    data = write_table(tmp_path / 'texts.tsv', ['text_a'], [('的一是不了人我在有他这中大来',)] * 60000)
    command = [sys.executable, str(ROOT / 'ernie_encoder.py')]
    command += flags(init_pretraining_params=model, data_set=data, output_dir=tmp_path / 'out', use_cuda=False)
    process = subprocess.Popen(
        [*command, '--cache', 'false', '--batch_size', '2'], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while (
        not [p for p in tmp_path.glob('.propeller-work-*/new/cls_emb.npy') if p.stat().st_size]
        and process.poll() is None
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    error = process.communicate()[1]
    assert not (tmp_path / 'out').exists(), error
    if number == signal.SIGKILL:
        (left,) = tmp_path.glob('.propeller-work-*')
        assert not list(left.glob('new/offsets.npy'))
    else:
        assert process.returncode == 130 and error.splitlines()[-1] == 'interrupted', error
        assert os.listdir(tmp_path) == ['texts.tsv']
