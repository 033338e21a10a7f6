"""PaddleHub's four steps, as the seed has them, on small data."""

import json
import logging
import os

import numpy as np
import pytest

import ernie.hub as hub
from ernie.hub.log import log as hub_log
from propeller.errors import UsageError, UserError
from tests.ernie.tiny_model import sentences, write_table


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Folder of `train.tsv`, `dev.tsv`, `test.tsv` with label and text."""
    folder = tmp_path_factory.mktemp('data')
    for name, count in (('train', 40), ('dev', 9), ('test', 7)):
        rows = [(label, ' '.join(text)) for text, label in sentences(count, seed=len(name))]
        write_table(folder / f'{name}.tsv', ['label', 'text_a'], rows)
    return folder


@pytest.fixture
def lines(caplog):
    """Function -> the messages of the hub so far."""
    hub_log.addHandler(caplog.handler)
    yield lambda: [r.getMessage() for r in caplog.records if r.name.startswith('ernie.hub')]
    hub_log.removeHandler(caplog.handler)


def dataset(data):
    return hub.dataset.Files(**{name: data / f'{name}.tsv' for name in ('train', 'dev', 'test')})


def seed_code(model, data, checkpoint_dir, num_epoch=2, net=hub.nets.gru_net, **settings):
    """The code of the four steps, with an ERNIE module in the place of ELMo."""
    module = hub.Module(directory=model)
    inputs, outputs, program = module.context(trainable=True)
    chosen = dataset(data)
    reader = hub.reader.ClassifyReader(dataset=chosen, vocab_path=module.get_vocab_path())
    strategy = hub.AdamWeightDecayStrategy(
        learning_rate=5e-3,
        weight_decay=0.01,
        warmup_proportion=0.0,
        lr_scheduler='linear_decay',
    )
    config = hub.RunConfig(
        use_cuda=True, use_data_parallel=True, use_pyreader=False, num_epoch=num_epoch, batch_size=8,
        strategy=strategy, checkpoint_dir=checkpoint_dir, log_interval=2, eval_interval=3, **settings,
    )  # fmt: skip
    word_ids = inputs['input_ids']
    hub.switch_main_program(program)
    word_embedding = hub.layers.embedding(
        input=word_ids,
        size=[len(reader.vocab), 6],
        param_attr=hub.ParamAttr(learning_rate=30, initializer=hub.initializer.Uniform(low=-0.1, high=0.1)),
    )
    input_feature = hub.layers.concat(input=[outputs['sequence_output'], word_embedding], axis=1)
    fc = net(program, input_feature, hid_dim=8, hid_dim2=6)
    names = ('input_ids', 'position_ids', 'segment_ids', 'input_mask')
    return hub.TextClassifierTask(
        data_reader=reader,
        feature=fc,
        feed_list=[inputs[name].name for name in names],
        num_classes=chosen.num_labels,
        config=config,
    )


def test_the_four_steps_train_keep_the_best_and_predict_in_order(model, data, tmp_path, lines):
    folder = tmp_path / 'ckpt'
    task = seed_code(model, data, folder, save_ckpt_interval=4)
    states = task.finetune_and_eval()
    said = lines()
    assert [state.run_step for state in states] == [2] * 5
    assert [line.split(':')[0] for line in said if line.startswith('step ')] == [f'step {n}' for n in range(2, 11, 2)]
    assert any(line.startswith(f'best model saved to {folder}/best_model [best accuracy=') for line in said)
    assert sum(line.startswith('[test dataset evaluation result] loss=') for line in said) == 1
    assert 'PaddleHub model checkpoint not found, start training from scratch...' in said
    assert any(line.endswith('pretrained parameters loaded by PaddleHub') for line in said)
    assert sorted(os.listdir(folder)) == [
        '.propeller-run.json', 'best_model', 'ckpt.meta', 'metrics.jsonl', 'step_10', 'step_4', 'step_8', 'vdllog',
    ]  # fmt: skip
    meta = json.loads((folder / 'ckpt.meta').read_text())
    assert meta == {
        'current_epoch': 2, 'global_step': 10, 'latest_model_dir': f'{folder}/step_10', 'best_score': task.best_score,
    }  # fmt: skip

    texts = [['好 的'], ['坏 的'], ['龘 龘'], [''], ['美 了'], ['丑 了'], ['好']]
    run_states = task.predict(data=texts)
    results = np.concatenate([np.argmax(state.run_results, axis=2)[0] for state in run_states])
    assert len(results) == len(texts)
    assert task.predict(data=texts[:2], return_result=True) == [str(i) for i in results[:2]]
    found = np.concatenate([state.run_results[0] for state in run_states])

    again = seed_code(model, data, folder)
    other = np.concatenate([state.run_results[0] for state in again.predict(data=texts)])
    np.testing.assert_allclose(other, found, atol=1e-6)
    one = [again.predict(data=[text])[0].run_results[0][0] for text in texts]
    np.testing.assert_allclose(one, found, atol=1e-5)

    exported = tmp_path / 'exported'
    again.save_inference_model(str(exported))
    assert {'model.json', 'model.pdiparams', 'hub.json', 'vocab.txt'} <= set(os.listdir(exported))

    again.finetune_and_eval()
    assert any('all of the 10 steps of this training are done' in line for line in lines())
