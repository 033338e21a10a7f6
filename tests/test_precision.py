"""--precision: half-precision products, everything else in float32."""

import json

import numpy as np
import pytest

from ernie.config import ErnieConfig
from ernie.model.ernie import ErnieModel
from ernie.model.heads import head
from ernie.settings.finetune import FinetuneSettings
from propeller import graph, ops
from propeller.errors import UsageError
from propeller.graph import F
from propeller.ops.choice import kernels
from propeller.session import Session
from propeller.storage import open_tensors
from propeller.train.precision import LossScale
from propeller.update import minimize
from tests.ernie import tiny_reading, tiny_tagging
from tests.ernie.tiny_model import CONFIG, records, run, sentences, table

FEEDS = [graph.Feed(name, (-1, -1), 'int64') for name in ('ids', 'types', 'positions')]
FEEDS += [graph.Feed('mask', (-1, -1), 'float32'), graph.Feed('label', (-1,), 'int64')]


def trainer(precision):
    """Session and program of a classifier whose outputs are (loss, logits)."""
    session = Session(seed=2, precision=precision)

    def build(ids, types, positions, mask, label):
        model = ErnieModel(ids, positions, types, None, mask, ErnieConfig({**CONFIG, 'hidden_dropout_prob': 0.0}), True)
        logits = head(model.get_pooled_output(), '_cls_out_w', '_cls_out_b', 3, False)
        loss = F.cross_entropy(logits, label)
        minimize(loss, lambda step: 1e-3, clip_norm=1.0)
        return loss, logits

    program = session.build(FEEDS, build)
    session.initialize(program)
    return session, program


def types_of(program, *names):
    """dict operation -> list of the sets of types of its inputs, for the operations of these names."""
    found = {}
    for op in program.main.global_block().ops:
        name = op.name().removeprefix('pd_op.')
        if name in names:
            values = [op.operand_source(i) for i in range(op.num_operands())]
            kinds = {str(v.dtype).rpartition('.')[2].lower() for v in values if v.initialized()}
            found.setdefault(name, []).append(kinds)
    return found


def test_products_are_in_bfloat16_and_what_is_delicate_in_float32():
    with ops.use('false'):
        _, program = trainer('bf16')
    found = types_of(program, 'matmul', 'softmax', 'layer_norm', 'cross_entropy_with_softmax', 'adamw_', 'softmax_grad')
    *encoder, head = found.pop('matmul')
    assert len(encoder) == 2 * 6 + 1 and all(kinds == {'bfloat16'} for kinds in encoder)
    assert head == {'float32'}
    assert len(found) == 5 and all('bfloat16' not in kinds for operations in found.values() for kinds in operations)


@pytest.mark.skipif(not kernels().bf16, reason='fused operators have no bfloat16 products here')
def test_fused_products_are_in_bfloat16():
    """Their inputs and outputs stay in float32; the head is a plain product."""
    _, program = trainer('bf16')
    found = {}
    for op in program.main.global_block().ops:
        found.setdefault(op.name(), []).append(op)
    counts = {'self_attention': 2, 'feed_forward': 2}
    assert {name: len(found[f'custom_op.propeller_{name}']) for name in counts} == counts
    products = ('custom_op.propeller_linear', *(f'custom_op.propeller_{name}' for name in counts))
    fused = [op for name in found if name.startswith(products) for op in found[name]]
    assert {op.attrs()['precision'] for op in fused} == {'bf16'}
    assert types_of(program, 'matmul') == {'matmul': [{'float32'}]}
    assert 'pd_op.cast' not in found or all(
        'bfloat16' not in str(op.results()[0].dtype).lower() for op in found['pd_op.cast']
    )


@pytest.mark.parametrize('mode', ['auto', 'false'])
def test_evaluation_is_in_float32(mode):
    """It gives the same numbers in a session of any precision."""
    rng = np.random.default_rng(0)
    ids, found = rng.integers(1, 60, (8, 9)), []
    arrays = [ids, ids * 0, np.broadcast_to(np.arange(9), ids.shape), np.ones(ids.shape, np.float32)]

    def build(ids, types, positions, mask):
        return ErnieModel(ids, positions, types, None, mask, ErnieConfig(CONFIG)).get_pooled_output()

    for precision in ('fp32', 'bf16'):
        with ops.use(mode):
            session = Session(seed=2, precision=precision)
            program = session.build(FEEDS[:4], build, exact=True)
        session.initialize(program)
        found.append(session.run(program, arrays, [program.outputs])[0])
    np.testing.assert_array_equal(*found)


def test_bfloat16_follows_float32():
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 60, (8, 9))
    arrays = [ids, ids * 0, np.broadcast_to(np.arange(9), ids.shape), np.ones(ids.shape, np.float32), ids[:, 0] % 3]
    losses = {}
    for precision in ('fp32', 'bf16'):
        session, program = trainer(precision)
        assert all(session.read(name).dtype == np.float32 for name in program.parameters())
        losses[precision] = [float(session.step(program, arrays, program.outputs)[0]) for _ in range(20)]
    np.testing.assert_allclose(losses['bf16'], losses['fp32'], rtol=0.03)
    assert losses['bf16'][-1] < losses['bf16'][0] - 0.1
    # Fused operators on a processor without such products compute in float32.
    assert (losses['bf16'] != losses['fp32']) == (kernels().bf16 or not ops.available())


def test_a_run_in_bfloat16_starts_from_float32_and_the_other_way_round(tmp_path, train):
    data = {
        'train_set': table(tmp_path / 't.tsv', sentences(200, 1)),
        'dev_set': table(tmp_path / 'd.tsv', sentences(60, 2)),
    }
    train(**data, precision='bf16', epoch=3)
    (checkpoint,) = (tmp_path / 'c').glob('step_*')
    tensors = open_tensors(checkpoint)
    assert {tensors[name].dtype for name in tensors} == {np.dtype(np.float32)}
    assert records(tmp_path / 'c', 'dev')[-1]['acc'] > 0.9
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    run(init_checkpoint=checkpoint, checkpoints=tmp_path / 'e', do_train=False, do_test=False, dev_set=data['dev_set'])
    (score,) = [json.loads(line) for line in (tmp_path / 'e' / 'evaluation.jsonl').read_text().splitlines()]
    assert abs(score['acc'] - records(tmp_path / 'c', 'dev')[-1]['acc']) <= 0.02
    train(**data, init_pretraining_params=None, init_checkpoint=checkpoint, checkpoints=tmp_path / 'f', epoch=4)
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == before


def test_a_frozen_encoder_in_bfloat16(tmp_path, train):
    train(train_set=table(tmp_path / 't.tsv', sentences(80, 1)), do_val=False, precision='bf16', freeze_encoder=True)
    assert np.isfinite([r['loss'] for r in records(tmp_path / 'c', 'train')]).all()


@pytest.mark.parametrize('use_crf', [False, True])
def test_tagging_in_bfloat16(tmp_path, model, use_crf):
    rows = tiny_tagging.sentences(150, 1)
    tiny_tagging.run(
        init_pretraining_params=model / 'params',
        checkpoints=tmp_path / 'c',
        train_set=tiny_tagging.write_rows(tmp_path / 't.tsv', rows),
        dev_set=tiny_tagging.write_rows(tmp_path / 'd.tsv', rows[:40]),
        label_map_config=tiny_tagging.write_map(tmp_path / 'm.json'),
        do_test=False,
        use_crf=use_crf,
        precision='bf16',
        epoch=4,
    )
    assert records(tmp_path / 'c', 'dev')[-1]['f1'] > 0.8


def test_reading_in_bfloat16(tmp_path, model):
    tiny_reading.run_mrc(
        init_pretraining_params=model / 'params',
        checkpoints=tmp_path / 'c',
        train_set=tiny_reading.write_puzzles(tmp_path / 't.json', 60, 1),
        dev_set=tiny_reading.write_puzzles(tmp_path / 'd.json', 20, 2),
        do_test=False,
        precision='bf16',
        epoch=1,
    )
    assert np.isfinite([r['loss'] for r in records(tmp_path / 'c', 'train')]).all()


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        ({'precision': 'fp16'}, '--precision fp16 needs a GPU; on a processor take --precision bf16'),
        ({'use_fp16': True}, '--use_fp16 true needs a GPU; on a processor take --precision bf16'),
        ({'precision': 'int8'}, '--precision int8: expected one of auto, fp32, bf16, fp16'),
        ({'use_fp16': True, 'precision': 'bf16'}, '--use_fp16 true and --precision bf16: give one'),
        ({'use_fp16': True, 'use_cuda': True, 'init_loss_scaling': 0}, '--init_loss_scaling 0.0: expected'),
        ({'use_cuda': True, 'fused_ops': 'true'}, '--fused_ops true is for processors; on a GPU take auto or false'),
        ({'gradient_accumulation_steps': 0}, '--gradient_accumulation_steps 0: expected at least 1'),
    ],
)
def test_flags_that_cannot_be(tmp_path, train, flags, words):
    with pytest.raises(UsageError, match=words):
        train(train_set=table(tmp_path / 't.tsv', sentences(20, 1)), do_val=False, **flags)


def test_the_loss_scale_is_part_of_a_checkpoint(tmp_path, train, monkeypatch):
    """With the scale of half precision over float32 products: fp16 itself needs a GPU."""
    made = []

    def scaled(args):
        made.append(LossScale(64, incr_every=2))
        return made[-1]

    monkeypatch.setattr(FinetuneSettings, 'loss_scale', scaled)
    data = {
        'train_set': table(tmp_path / 't.tsv', sentences(80, 1)),
        'do_val': False,
        'epoch': 2,
        'warmup_proportion': 0,
    }
    whole = train(**data, checkpoints=tmp_path / 'whole')
    train(**data, checkpoints=tmp_path / 'cut', max_steps=8)
    state = json.loads((tmp_path / 'cut' / 'step_8' / 'training_state.json').read_text())
    assert state['loss_scale'] == {'scale': 256.0, 'good': 2, 'bad': 0} and state['updates'] == 8
    train(**data, checkpoints=tmp_path / 'cut', resume=True)
    used = [scale.scale for scale in made if scale.scale != 64]  # the settings make one to check them
    assert used == [64 * 2**6, 256, 64 * 2**6] and 'step_20' in whole.log
    one, other = (open_tensors(tmp_path / name / 'step_20') for name in ('whole', 'cut'))
    for name in one:
        np.testing.assert_array_equal(other[name], one[name], err_msg=name)
