"""The folder of ELMo that Baidu's program of 2019 left: a file for each variable, and a list of words."""

import numpy as np
import pytest

import ernie.hub as hub
from ernie.checkpoint import open_model
from ernie.command import main
from ernie.config import ErnieConfig
from ernie.inference.find import checkpoint_of
from ernie.model.encoders import backbone_shapes, build_encoder
from ernie.model.task_model import encoder_feeds
from propeller.errors import UserError
from propeller.session import Session
from propeller.storage.fluid import write_variable
from tests.ernie.test_elmo import ELMO, direction
from tests.ernie.tiny_model import sentences, write_table

WORDS = ['<S>', '</S>', '<UNK>', *'好美赞棒香差丑烂坏臭的一是不了人我在有']
BAIDU = {**ELMO, 'vocab_size': len(WORDS)}
BEGUN = ('gamma', 'gamma1', 'gamma2', 'middle_fc.w_0', 'middle_fc.b_0')


@pytest.fixture
def folder(tmp_path):
    """What pre-training left: no mix, no pooled output; the words that both directions predict, and Adam's moments."""
    rng, place = np.random.default_rng(2), tmp_path / 'baike_elmo'
    place.mkdir()
    shapes = {name: shape for name, shape in backbone_shapes(ErnieConfig(BAIDU)).items() if name not in BEGUN}
    shapes |= {'softmax_weight': (len(WORDS), 5), 'softmax_bias': (len(WORDS),), 'lstmp_0.w_0_moment1_0': (5, 36)}
    for name, shape in shapes.items():
        write_variable(place / name, rng.normal(0, 0.3, shape).astype(np.float32))
    (place / 'vocabulary_min5k.txt').write_text('\n'.join(WORDS) + '\n', encoding='utf-8')
    return place


def test_sizes_come_from_the_variables(folder):
    config = open_model(folder).config
    same = ('encoder', 'vocab_size', 'emb_size', 'hidden_size', 'cell_size', 'num_hidden_layers')
    assert {key: config[key] for key in same} == {key: BAIDU[key] for key in same}
    assert (config['cell_clip'], config['state_clip']) == (3.0, 3.0)


def test_a_module_of_the_folder_computes_what_its_variables_say_and_learns(folder, tmp_path):
    module = hub.Module(directory=folder)
    assert module.get_vocab_path() == str(folder / 'vocabulary_min5k.txt')
    session = Session(seed=1)

    def layers(*features):
        encoder = build_encoder(features, module.config)
        return [encoder.get_sequence_output(), *encoder.layer_outputs]

    program = session.build(encoder_feeds(module.config), layers)
    session.initialize(program)
    assert module.load_parameters(session, program) == 17
    ids = np.array([[3, 7, 5, 12]])
    found = session.run(program, [ids, ids * 0, ids * 0, np.ones((1, 4), np.float32)], program.outputs)
    p = {name: value.astype(np.float64) for name, value in open_model(folder).items()}
    x = p['embedding_para'][ids[0]]
    ways = direction(x, p, 'fw', (0, 1), 3.0, 3.0), direction(x[::-1], p, 'bw', (2, 3), 3.0, 3.0)
    right = [np.concatenate([f, b[::-1]], axis=1) for f, b in zip(*ways, strict=True)]
    for one, layer in zip(found[1:], right, strict=True):
        np.testing.assert_allclose(one[0], layer, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found[0][0], sum(right) / 2, rtol=2e-5, atol=1e-6)  # all gammas begin as 1

    rows = [(label, ' '.join(text)) for text, label in sentences(40, seed=4)]
    files = {name: write_table(tmp_path / f'{name}.tsv', ['label', 'text_a'], rows) for name in ('train', 'dev')}
    inputs, outputs, program = module.context(trainable=True)
    reader = hub.reader.LACClassifyReader(hub.dataset.Files(**files), module.get_vocab_path(), lexer='spaces')
    assert reader.vocab['<UNK>'] == 2
    hub.switch_main_program(program)
    task = hub.TextClassifierTask(
        data_reader=reader,
        feature=hub.nets.gru_net(program, outputs['elmo_embed'], 8, 6),
        feed_list=[inputs['word_ids'].name],
        num_classes=2,
        config=hub.RunConfig(checkpoint_dir=tmp_path / 'run', num_epoch=30, batch_size=8,
                             strategy=hub.DefaultStrategy(learning_rate=0.01)),
    )  # fmt: skip
    task.open_session(3)
    task.finetune_and_eval()
    assert task.best_score > 0.9
    assert len(task.predict([['好 的'], ['坏 龘']], return_result=True)) == 2


def test_the_programs_fine_tune_it_with_a_list_that_has_their_words(folder, tmp_path):
    words = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *WORDS][: len(WORDS)]
    (folder / 'vocab.txt').write_text('\n'.join(words) + '\n', encoding='utf-8')
    (folder / 'tokenizer_config.json').write_text('{"tokenizer_class": "WordTokenizer"}')
    rows = [(label, ' '.join(text)) for text, label in sentences(24, seed=4)]
    train = write_table(tmp_path / 'train.tsv', ['label', 'text_a'], rows)
    flags = ['--model', str(folder), '--epoch', '1', '--batch_size', '8', '--dev_share', '0', '--learning_rate', '0.01']
    main(['finetune', 'classify', train, *flags, '--checkpoints', str(tmp_path / 'run')])
    held = set(open_model(checkpoint_of(tmp_path / 'run')))
    assert {'gamma', 'gamma2', 'middle_fc.w_0', 'lstmp_3.w_1', 'embedding_para'} <= held


@pytest.mark.parametrize(
    'name, change, message',
    [
        ('lstmp_0.w_1', None, 'found no lstmp_0.w_1, expected the matrix lstmp_0.w_1 of an ELMo'),
        ('lstmp_0.w_1', np.zeros(9), r'found lstmp_0.w_1 of shape \[9\]'),
    ],
)
def test_a_folder_with_a_part_is_refused(folder, name, change, message):
    (folder / name).unlink()
    if change is not None:
        write_variable(folder / name, change.astype(np.float32))
    with pytest.raises(UserError, match=message):
        hub.Module(directory=folder)


def test_what_pre_training_must_have_is_not_begun_anew(folder):
    (folder / 'bw_layer2_gate_w').unlink()
    module, session = hub.Module(directory=folder), Session(seed=1)
    program = session.build(
        encoder_feeds(module.config), lambda *f: build_encoder(f, module.config).get_sequence_output()
    )
    session.initialize(program)
    with pytest.raises(UserError, match=r'1 missing: bw_layer2_gate_w \[5, 36\]'):
        module.load_parameters(session, program)
