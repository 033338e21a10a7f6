"""PaddleHub's four steps, as the seed has them, on small data."""

import json
import os
import shutil
import subprocess
import sys

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
    assert {name.split('.')[0] for name in os.listdir(folder / 'vdllog')} == {'events', 'vdlrecords'}
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


def test_a_training_that_was_stopped_goes_on_exactly(model, data, tmp_path, lines):
    def parameters(task):
        return {name: task.session.read(name) for name in task.build('predict').parameters()}

    whole = seed_code(model, data, tmp_path / 'whole', num_epoch=2, save_ckpt_interval=4)
    whole.finetune(do_eval=True)
    right = parameters(whole)
    for name in ('step_8', 'step_10'):
        shutil.rmtree(tmp_path / 'whole' / name)
    again = seed_code(model, data, tmp_path / 'whole', num_epoch=2, save_ckpt_interval=4)
    again.finetune(do_eval=True)
    assert 'PaddleHub model checkpoint loaded. current_epoch=0, global_step=4' in lines()
    for name, value in parameters(again).items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


WORDS = ['<UNK>', '好', '坏', '很', '房间', '的', '服务', '。']


def word_code(folder, rows, checkpoint_dir, **settings):
    """Word embeddings and a net alone, without a module: the reader's words are cut at spaces."""
    (folder / 'words').mkdir(exist_ok=True)
    (folder / 'words' / 'vocab.txt').write_text('\n'.join(WORDS) + '\n', encoding='utf-8')
    path = write_table(folder / 'rows.tsv', ['label', 'text_a'], rows)
    chosen = hub.dataset.Files(train=path, dev=path)
    reader = hub.reader.LACClassifyReader(chosen, str(folder / 'words' / 'vocab.txt'), lexer='spaces')
    program = hub.Program()
    with hub.program_guard(program):
        word_ids = hub.layers.data('word_ids', [1], 'int64', lod_level=1)
    table = hub.layers.embedding(input=word_ids, size=[len(reader.vocab), 8])
    strategy = hub.AdamWeightDecayStrategy(learning_rate=0.05, weight_decay=0, warmup_proportion=0)
    config = hub.RunConfig(num_epoch=15, batch_size=4, strategy=strategy, checkpoint_dir=checkpoint_dir)
    return hub.TextClassifierTask(
        feature=hub.nets.bow_net(program, table, 8, 6), num_classes=2, feed_list=['word_ids'], data_reader=reader,
        config=config, **settings,
    )  # fmt: skip


def test_rows_with_unknown_words_alone_are_learnt_and_predicted_too(tmp_path):
    rows = [(1, '房间 很 好'), (0, '服务 很 坏'), (1, '好 的 。'), (0, '坏 的 。'), (0, '龘龘'), (1, '好'), (0, '坏')]
    task = word_code(tmp_path, rows, tmp_path / 'ckpt', metrics_choices=['f1', 'acc'], hidden_units=[5])
    assert task.reader.num_examples == {'train': -1, 'dev': -1, 'test': -1}
    task.finetune(do_eval=True)
    assert task.reader.num_examples == {'train': 7, 'dev': 7, 'test': -1}
    scores = task.eval('dev')
    assert scores['acc'] == 1.0 and list(scores) == ['loss', 'f1', 'acc']
    texts = ['坏', '鱻', '好 好', '', '很 坏']
    assert task.predict([[text] for text in texts], return_result=True) == ['0', '0', '1', '0', '0']
    (batch, labels), *_ = task.reader.data_generator(batch_size=3, phase='dev')()
    assert batch['word_ids'].tolist() == [[4, 3, 1], [6, 3, 2], [1, 5, 7]] and labels == ['1', '0', '1']
    assert task.reader.arrays(task.rows('dev'), [4])['word_ids'].tolist() == [[0]]


def test_a_tagging_task_labels_each_token(model, tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        tokens = list(rng.choice(list('的一是不了好美'), rng.integers(1, 8)))
        labels = ['B-GOOD' if token in '好美' else 'O' for token in tokens]
        rows.append(('\2'.join(tokens), '\2'.join(labels)))
    path = write_table(tmp_path / 'tags.tsv', ['text_a', 'label'], rows)
    base = {'train_file': 'tags.tsv', 'dev_file': 'tags.tsv'}
    headers = {'train_file_with_header': True, 'dev_file_with_header': True}
    chosen = hub.dataset.BaseNLPDataset(os.path.dirname(path), **base, label_list=['B-GOOD', 'O'], **headers)
    module = hub.Module(module_dir=str(model))
    inputs, outputs, _ = module.context(max_seq_len=12)
    reader = hub.reader.SequenceLabelReader(module.get_vocab_path(), chosen, max_seq_len=12)
    task = hub.SequenceLabelTask(
        feature=outputs[1], max_seq_len=12, num_classes=2, feed_list=[inputs[i].name for i in range(4)],
        data_reader=reader, config=hub.RunConfig(
            num_epoch=4, batch_size=6, checkpoint_dir=tmp_path / 'ckpt', strategy=hub.DefaultStrategy(1e-2)),
    )  # fmt: skip
    task.finetune_and_eval()
    assert task.eval()['f1'] > 0.95
    classes, counts = task.predict([['的好'], ['一美的了']])[0].run_results
    assert counts.tolist() == [2, 4] and classes.tolist() == [[1, 0, 0, 0], [1, 0, 1, 1]]
    assert task.predict([['的好'], ['美']], return_result=True) == [['O', 'B-GOOD'], ['B-GOOD']]


def test_a_regression_task_predicts_numbers(model, tmp_path):
    rows = [(text, 4.5 if label else -1.5) for text, label in sentences(40, seed=1)]
    path = write_table(tmp_path / 'numbers.tsv', ['text_a', 'label'], rows)
    module = hub.Module(str(model))
    inputs, outputs, _ = module.context()
    reader = hub.reader.ClassifyReader(hub.dataset.Files(train=path, dev=path), module.get_vocab_path())
    config = hub.RunConfig(num_epoch=48, batch_size=8, checkpoint_dir=tmp_path / 'ckpt',
                           strategy=hub.DefaultStrategy(3e-3))  # fmt: skip
    feeds = [inputs[i].name for i in range(4)]
    task = hub.RegressionTask(outputs['pooled_output'], feeds, reader, config=config)
    task.finetune(do_eval=True)
    assert task.best_score > 0.8
    good, bad = task.predict([['好好'], ['坏坏']], return_result=True)
    assert good > 2 and bad < 1


def test_what_a_user_gets_wrong_is_one_line(model, data, tmp_path, monkeypatch):
    module = hub.Module(directory=str(model))
    inputs, outputs, _ = module.context(trainable=False)
    vocab, feeds = module.get_vocab_path(), [inputs[i].name for i in range(4)]
    reader = hub.reader.ClassifyReader(dataset(data), vocab)
    (tmp_path / 'plain.txt').write_text('好\n', encoding='utf-8')
    only_train = hub.dataset.Files(train=data / 'train.tsv')

    def task(feature=outputs['pooled_output'], number=2, names=feeds, given=reader, **settings):
        return hub.TextClassifierTask(feature, number, names, given, **settings)

    words = hub.reader.LACClassifyReader(dataset(data), vocab, lexer='spaces')
    without_dev = task(given=hub.reader.ClassifyReader(only_train, vocab),
                       config=hub.RunConfig(checkpoint_dir=tmp_path / 'none'))  # fmt: skip
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    for wrong, error, said in [
        (lambda: hub.Module(), UsageError, 'found 0 of name, directory and module_dir'),
        (lambda: hub.Module(name='ernie_tinny'), UserError, 'Did you mean ernie_tiny?'),
        (lambda: hub.Module(name='senta_lstm'), UserError, 'no counterpart here'),
        (lambda: hub.Module(name='ernie', version='1.0.0'), UsageError, 'no versions'),
        (lambda: hub.Module(directory=str(tmp_path / 'nowhere')), UserError, 'found no such folder'),
        (lambda: module.context(max_seq_len=600), UsageError, 'range of [1, 17]'),
        (lambda: module.context(sign_name='tokens'), UsageError, 'one signature'),
        (lambda: outputs['pooled_outputs'], UserError, "no output 'pooled_outputs', expected pooled_output,"),
        (lambda: hub.AdamWeightDecayStrategy(lr_scheduler='linear'), UsageError, 'one of linear_decay, noam_decay'),
        (lambda: hub.AdamWeightDecayStrategy(warmup_proportion=5), UsageError, 'a share from 0 to 1'),
        (lambda: hub.DefaultStrategy(optimizer_name='ftrl'), UsageError, 'one of adam, sgd'),
        (lambda: hub.RunConfig(num_epoch=0), UsageError, 'num_epoch: found 0'),
        (lambda: hub.RunConfig(strategy='adam'), UserError, 'hub.AdamWeightDecayStrategy'),
        (lambda: hub.dataset.Named('chnsenticorpp'), UsageError, 'Did you mean chnsenticorp?'),
        (lambda: hub.reader.ClassifyReader(dataset(data)), UsageError, 'vocab_path is missing'),
        (lambda: hub.reader.LACClassifyReader(None, str(tmp_path / 'plain.txt')), UserError, 'no unknown word'),
        (lambda: hub.reader.LACClassifyReader(None, vocab, lexer='lac'), UsageError, 'one of words, spaces'),
        (lambda: reader.data_generator(phase='training'), UsageError, 'Did you mean train?'),
        (lambda: task(given=words), UserError, 'a reader that gives input_ids, as ClassifyReader does'),
        (lambda: task(names=['input_ids']), UserError, 'position_ids in it too'),
        (lambda: task(names=[*feeds, 'word_ids']), UserError, "found 'word_ids'"),
        (lambda: task(number=3), UsageError, 'num_classes 3'),
        (lambda: task(feature=outputs['sequence_output']), UserError, 'one vector for each text'),
        (lambda: task(metrics_choices=['accuracy']), UsageError, 'one of acc, f1'),
        (lambda: without_dev.predict([['好']]), UserError, 'no trained model'),
        (lambda: without_dev.finetune_and_eval(), UserError, 'found no split dev, expected one; there are train'),
        (lambda: reader.given([]), UserError, 'expected a list of texts'),
        (lambda: reader.given([['a', 'b', 'c']]), UserError, 'data[0]'),
    ]:  # fmt: skip
        with pytest.raises(error) as raised:
            wrong()
        assert said in str(raised.value) and '\n' not in str(raised.value), raised.value


def test_a_checkpoint_of_other_words_is_refused(tmp_path):
    rows = [(1, '好'), (0, '坏'), (1, '好 好'), (0, '坏 坏')]
    word_code(tmp_path, rows, tmp_path / 'ckpt').finetune()
    WORDS.append('新')
    try:
        with pytest.raises(UserError, match='found vocabulary .* as this task has it'):
            word_code(tmp_path, rows, tmp_path / 'ckpt').predict([['好']])
    finally:
        WORDS.pop()


def test_a_label_that_is_none_and_a_row_without_it_are_named(model, tmp_path):
    path = tmp_path / 'rows.tsv'
    path.write_text('好\t1\n坏\t0\n怪\tx\n', encoding='utf-8')
    chosen = hub.dataset.BaseNLPDataset(tmp_path, train_file='rows.tsv', label_list=['0', '1'])
    module = hub.Module(directory=str(model))
    inputs, outputs, _ = module.context()
    reader = hub.reader.ClassifyReader(chosen, module.get_vocab_path())
    config = hub.RunConfig(checkpoint_dir=tmp_path / 'ckpt')
    task = hub.TextClassifierTask(outputs[0], 2, [inputs[i].name for i in range(4)], reader, config=config)
    with pytest.raises(UserError, match="found the label 'x' in row 3, expected one of 0, 1"):
        task.finetune()
    path.write_text('好\n', encoding='utf-8')
    chosen = hub.dataset.BaseNLPDataset(tmp_path, train_file='rows.tsv')
    with pytest.raises(UserError, match=r'rows.tsv:1: found 1 cells, expected text_a<TAB>label'):
        chosen.get_train_examples()


def test_nothing_is_loaded_by_the_import_nor_by_what_only_says_a_network():
    code = (
        'import sys, ernie.hub as hub; p = hub.Program(); hub.switch_main_program(p); '
        'x = hub.layers.data("word_ids", [1], "int64", 1); e = hub.layers.embedding(x, [9, 4]); '
        'hub.nets.lstm_net(p, e); hub.AdamWeightDecayStrategy(); '
        'print(sorted({"paddle", "scipy", "matplotlib"} & set(sys.modules)))'
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout == '[]\n'


def test_without_a_data_set_a_task_predicts_with_the_labels_of_its_checkpoint(tmp_path):
    rows = [('gut', '好'), ('bad', '坏'), ('gut', '好 好'), ('bad', '坏 坏')]
    trained = word_code(tmp_path, rows, tmp_path / 'ckpt')
    trained.finetune_and_eval()
    task = word_code(tmp_path, rows, tmp_path / 'ckpt')
    task.reader.dataset = None
    assert task.predict([['好'], ['坏']], return_result=True) == ['gut', 'bad']
    with pytest.raises(UserError, match='found no data set'):
        task.eval('dev')


def test_files_without_labels_are_test_sets_that_are_not_scored(data, tmp_path):
    path = tmp_path / 'test.csv'
    path.write_text('评论\n好\n坏\n', encoding='utf-8')
    chosen = hub.dataset.Files(train=data / 'train.tsv', test=path)
    assert chosen.get_test_examples()[1] == hub.dataset.InputExample(1, '坏')
    assert chosen.get_labels() == ['0', '1'] and chosen.num_labels == 2
    with pytest.raises(UserError, match='found no split dev, expected one; there are train, test'):
        chosen.get_val_examples()
