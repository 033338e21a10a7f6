"""`ernie pretrain elmo`: losses beside numpy, a real training, resume, and the fine-tuning that starts from it."""

import json

import numpy as np
import pytest

import ernie
from ernie.command import main
from ernie.config import ErnieConfig
from ernie.model.elmo_language_model import HEAD, ElmoLanguageModel, sampled_losses
from ernie.model.task_model import encoder_feeds
from ernie.programs import OWN_DATA, PRETRAIN_ELMO
from ernie.run.source import Source
from ernie.settings.elmo import _LEFT_OUT
from ernie.settings.fields import described
from ernie.settings.finetune import OwnDataSettings
from propeller import graph
from propeller.errors import UsageError, UserError
from propeller.session import Session
from propeller.train.model import build_model_spec
from propeller.types import HParams, RunMode
from tests.ernie.test_elmo import ELMO
from tests.ernie.tiny_model import records

NEW = {'lexer': 'spaces', 'min_count': 2, 'layer_dropout': 0.1, 'n_negative_samples_batch': 8000}
CHANGED = {'epoch': 5, 'learning_rate': 2e-3, 'max_seq_len': 64, 'batch_size': 64, 'early_stop': -1}


def parse(*argv):
    return PRETRAIN_ELMO.build_parser('ernie pretrain elmo').parse_args(list(argv))


def test_the_flags_are_those_of_finetune_without_some_and_these():
    known = described(type(parse()))
    assert {name: one.default for name, one in known.items() if name in NEW} == NEW
    assert set(known) == (set(described(OwnDataSettings)) - set(_LEFT_OUT)) | set(NEW)
    theirs = vars(OWN_DATA.build_parser().parse_args([]))
    ours = {n: getattr(parse(), n) for n in set(known) - set(NEW)}
    assert {n: value for n, value in ours.items() if value != theirs[n]} == CHANGED


def test_the_loss_is_that_of_the_next_word_in_both_directions():
    config, session = ErnieConfig(ELMO), Session(seed=3)
    params = HParams(ernie=config, layer_dropout=0.5, sampled_words=7)

    def build(*features):
        return build_model_spec(ElmoLanguageModel, features, RunMode.EVAL, params, None)

    program = session.build([*encoder_feeds(config), ElmoLanguageModel.label_feed(params)], build)
    session.initialize(program)
    weight, bias = (session.read(name).astype(np.float64) for name in HEAD)
    rng = np.random.default_rng(0)
    bias += rng.normal(size=bias.shape)
    session.write(HEAD[1], bias.astype(np.float32))
    ids, mask = rng.integers(1, len(bias), (3, 6)), np.arange(6) < np.array([[6], [2], [3]])
    zeros, label = np.zeros_like(ids), np.zeros((3, 1), np.int64)
    arrays = [ids * mask, zeros, zeros, mask.astype(np.float32), label]
    _, losses, counts = session.run(program, arrays, program.outputs.predictions)

    def layers(*features):
        from ernie.model.encoders import build_encoder

        return build_encoder(features, config).layer_outputs[-1]

    encoder = session.build(encoder_feeds(config), layers)
    (states,) = session.run(encoder, arrays[:4], [encoder.outputs])
    for row, length in enumerate(mask.sum(1)):
        forward, backward = np.split(states[row, :length].astype(np.float64), 2, axis=-1)
        loss = 0
        for state, word in zip(
            [*forward[:-1], *backward[1:]], [*ids[row, 1:length], *ids[row, : length - 1]], strict=True
        ):
            logits = weight @ state + bias
            loss += np.log(np.exp(logits).sum()) - logits[word]
        np.testing.assert_allclose(losses[row], loss, rtol=1e-5)
        assert counts[row] == 2 * (length - 1)


def test_drawn_words_estimate_the_loss_over_all_words():
    size, width, rows, count = 50, 6, 4, 4000
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=(rows, width)).astype(np.float32),
        rng.integers(0, size, rows),
        rng.normal(size=(size, width)).astype(np.float32),
        rng.normal(size=size).astype(np.float32),
    ]
    shapes, types = [(-1, width), (-1,), (size, width), (size,)], ['float32', 'int64', 'float32', 'float32']
    feeds = [graph.Feed(f'v{i}', s, t) for i, (s, t) in enumerate(zip(shapes, types, strict=True))]
    session = Session(seed=1)
    program = session.build(feeds, lambda *values: sampled_losses(*values, count))
    session.initialize(program)
    drawn = np.mean([session.run(program, arrays, [program.outputs])[0] for _ in range(20)], axis=0)
    states, words, weight, bias = (array.astype(np.float64) for array in arrays)
    logits = states @ weight.T + bias
    right = logits[np.arange(rows), arrays[1]]
    np.testing.assert_allclose(drawn, np.log(np.exp(logits).sum(1)) - right, atol=0.02)


@pytest.fixture(scope='module')
def texts(tmp_path_factory):
    """Sentences whose third word follows from the first, in a file; some lines are empty."""
    folder, rng = tmp_path_factory.mktemp('texts'), np.random.default_rng(0)
    pairs = ['天 晴', '雨 湿', '风 冷', '雪 白', '花 香']
    for name, count in {'texts.txt': 300, 'dev.txt': 60}.items():
        lines = [f'{a} 很 {b} 了' for a, b in (pairs[i].split() for i in rng.integers(0, 5, count))]
        (folder / name).write_text('\n\n'.join(lines) + '\n', encoding='utf-8')
    config = {**ELMO, 'hidden_size': 32, 'emb_size': 16, 'cell_size': 32, 'cell_clip': 3.0, 'state_clip': 3.0}
    config['max_position_embeddings'] = 64
    (folder / 'elmo.json').write_text(json.dumps({**config, 'vocab_size': 40}))
    return folder


def pretrain(texts, *more):
    flags = ['--learning_rate', '0.02', '--batch_size', '30', '--checkpoints', str(texts / 'run'), *map(str, more)]
    flags += ['--dev_set', str(texts / 'dev.txt')]
    files = [str(texts / 'texts.txt'), '--ernie_config_path', str(texts / 'elmo.json')]
    return main(['pretrain', 'elmo', *files, *flags])


def test_it_learns_resumes_and_is_a_start_for_a_task(texts, tmp_path):
    pretrain(texts, '--epoch', 14)
    run = texts / 'run'
    words = (run / 'words' / 'vocab.txt').read_text(encoding='utf-8').split()
    assert words[:5] == ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'] and set(words[5:7]) == {'很', '了'}
    # Of the ten words to predict, forward and backward, only the first is a choice of five.
    found = [r['ppl'] for r in records(run, 'dev')]
    assert found[-1] < 2.2 and found[-1] < found[0]
    pretrain(texts, '--epoch', 15, '--resume', 'true')
    assert len(records(run, 'dev')) == 15
    best = run / 'best'
    held = set(Source(str(best)).tensors)
    assert set(HEAD) <= held and {'embedding_para', 'gamma', 'lstmp_3.w_1', 'middle_fc.w_0'} <= held
    rows = [('天 很 晴 了', '好'), ('雨 很 湿 了', '坏')] * 20
    labelled = tmp_path / 'labelled.tsv'
    labelled.write_text('text_a\tlabel\n' + ''.join('\t'.join(row) + '\n' for row in rows), encoding='utf-8')
    flags = ['--model', str(best), '--epoch', '3', '--learning_rate', '0.01', '--batch_size', '8', '--dev_share', '0']
    main(['finetune', 'classify', str(labelled), *flags, '--checkpoints', str(tmp_path / 'task')])
    model = ernie.load(tmp_path / 'task', engine='executor')
    assert [row['label'] for row in model(['天 很 晴 了', '雨 很 湿 了'])] == ['好', '坏']


START = ['texts.txt', '--ernie_config_path', 'elmo.json']


@pytest.mark.parametrize(
    'flags, error, message',
    [
        ([], UsageError, 'no file of texts is given'),
        (['texts.txt'], UsageError, '--ernie_config_path is missing'),
        (
            ['texts.txt', '--ernie_config_path', 'elmo.json', '--lexer', 'jieba', '--vocab_path', 'v'],
            UsageError,
            'give one',
        ),
        (['texts.txt', '--ernie_config_path', 'other.json'], UserError, 'found encoder ernie, expected encoder elmo'),
        (['no.txt', '--ernie_config_path', 'elmo.json'], UserError, 'no such file'),
    ],
)
def test_what_cannot_be_is_one_line(texts, flags, error, message, monkeypatch, tmp_path):
    from tests.ernie.tiny_model import CONFIG

    monkeypatch.chdir(texts)
    (texts / 'other.json').write_text(json.dumps(CONFIG))
    with pytest.raises(error, match=message):
        main(['pretrain', 'elmo', *flags, '--checkpoints', str(tmp_path / 'run')])
