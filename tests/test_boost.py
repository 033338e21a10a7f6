"""`--boost`: the training of a frozen encoder, from vectors on disk that cannot be those of something else."""

import json
import os
import shutil

import numpy as np
import pytest

import ernie
from ernie.checkpoint import open_model
from ernie.config import ErnieConfig
from ernie.finetune import boost as boosting
from ernie.finetune import vectors as stored
from ernie.finetune.trainer import fine_tune
from ernie.settings.finetune import FinetuneSettings
from ernie.tasks import table as tasks
from ernie.tasks.classification.training import ClassificationTask
from ernie.tokenization import FullTokenizer
from propeller.errors import UsageError, UserError
from propeller.ops.choice import kernels
from propeller.session import Session
from propeller.storage import open_tensors
from tests.ernie.tiny_model import messages, records, sentences, table, write_model

FROZEN = {'freeze_encoder': True, 'cache': True, 'precision': 'fp32'}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache of the test: its folder of vectors."""
    monkeypatch.setenv('ERNIE_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(stored, 'PART_ROWS', 16)
    return tmp_path / 'cache' / 'vectors'


@pytest.fixture
def sets(tmp_path):
    return {
        'train_set': table(tmp_path / 't.tsv', sentences(40, 1)),
        'dev_set': table(tmp_path / 'd.tsv', sentences(21, 2)),
    }


def parameters(folder):
    tensors = open_tensors(str(folder))
    return {name: tensors[name] for name in tensors}


def assert_equal(folder, other):
    """The parameters and the moments of two checkpoints are equal to 1e-6."""
    for name in ('model.safetensors', 'optimizer.safetensors'):
        found, expected = parameters(folder / name), parameters(other / name)
        assert set(found) == set(expected)
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=0, atol=1e-6, err_msg=key)


def losses(folder):
    return [r['loss'] for phase in ('train', 'dev') for r in records(folder, phase)]


def vectors_lines(ran):
    return [line for line in messages(ran.log) if line.startswith('vectors of')]


def test_boosted_is_frozen_and_goes_on_exactly(tmp_path, train, sets, cache, model):
    further = {'test_set': sets['dev_set'], 'do_test': True, 'gradient_accumulation_steps': 2, 'dev_share': None}
    settings = {**FROZEN, **sets, **further, 'epoch': 4, 'skip_steps': 2, 'save_steps': 5, 'head_dropout': 0.3}
    train(**settings, checkpoints=tmp_path / 'frozen', test_save=tmp_path / 'f')
    ran = train(**settings, boost=True, checkpoints=tmp_path / 'c', test_save=tmp_path / 'b')
    assert_equal(tmp_path / 'c/step_12', tmp_path / 'frozen/step_12')
    np.testing.assert_allclose(losses(tmp_path / 'c'), losses(tmp_path / 'frozen'), rtol=0, atol=1e-6)
    names = [sorted(path.name[1:] for path in tmp_path.glob(f'{kind}.[0-9]*')) for kind in 'fb']
    assert names[0] == names[1] != []
    lines = vectors_lines(ran)
    assert len(lines) == 3 and '40 rows, 40 computed' in lines[0] and 'all of them there already' in lines[2]
    # Gone on with from a checkpoint on the way, with boost and without.
    whole = (tmp_path / 'c/step_12').rename(tmp_path / 'whole')
    shutil.rmtree(tmp_path / 'c/step_10')
    for boost in (True, False):
        train(**settings | {'boost': boost}, resume=True, test_save=tmp_path / 'x')
        assert_equal(tmp_path / 'c/step_12', whole)
        shutil.rmtree(tmp_path / 'c/step_12')
    assert (tmp_path / 'c/step_10').exists()
    # The checkpoint has the encoder, and predicts.
    before, after = parameters(model / 'params'), parameters(whole / 'model.safetensors')
    assert set(after) == {*before, '_cls_out_w', '_cls_out_b'}
    assert all(np.array_equal(after[name], before[name]) for name in before)
    saved = json.loads((tmp_path / 'c/best/labels.json').read_text(encoding='utf-8'))
    assert saved['head_dropout'] == 0.3
    results = ernie.load(tmp_path / 'c/best', engine='executor')(['好美', '差'])
    assert len(results) == 2


@pytest.mark.parametrize('kind', ['pair', 'multilabel', 'regression', 'untrained'])
def test_other_kinds(tmp_path, train, kind, sets):
    rows, settings = sentences(30, 3), {**FROZEN, 'epoch': 2, 'do_val': False}
    header = ('text_a', 'label')
    if kind == 'pair':
        rows, header = [(text, text[::-1], label) for text, label in rows], ('text_a', 'text_b', 'label')
    elif kind == 'multilabel':
        rows, settings = [(text, '0,1' if label else '') for text, label in rows], settings | {'is_multilabel': True}
    elif kind == 'regression':
        settings |= {'is_regression': True, 'is_classify': False, 'do_val': True, 'dev_share': 0.2}
    else:
        folder = write_model(tmp_path / 'other')
        settings |= {'init_pretraining_params': None, 'ernie_config_path': folder / 'ernie_config.json'}
        settings |= {'vocab_path': folder / 'vocab.txt'}
    path = table(tmp_path / 'rows.tsv', rows, header)
    for name, boost in (('frozen', False), ('boosted', True)):
        train(**settings, train_set=path, boost=boost, checkpoints=tmp_path / name)
    (newest,) = (tmp_path / 'frozen').glob('step_*')
    assert_equal(tmp_path / 'boosted' / newest.name, newest)
    np.testing.assert_allclose(losses(tmp_path / 'boosted'), losses(tmp_path / 'frozen'), rtol=0, atol=1e-6)


@pytest.mark.skipif(not kernels().bf16, reason='fused operators have no bfloat16 products here')
def test_half_precision_is_that_of_the_frozen_encoder(tmp_path, train, sets):
    """Vectors to train on are made as the encoder of the training makes them; those of other sets in float32."""
    for name, boost in (('frozen', False), ('boosted', True)):
        train(**FROZEN | sets | {'precision': 'bf16', 'epoch': 2, 'boost': boost}, checkpoints=tmp_path / name)
    assert_equal(tmp_path / 'boosted/step_10', tmp_path / 'frozen/step_10')
    found = losses(tmp_path / 'boosted')
    np.testing.assert_allclose(found, losses(tmp_path / 'frozen'), rtol=0, atol=1e-6)
    train(**FROZEN | sets | {'epoch': 2, 'boost': True}, checkpoints=tmp_path / 'exact')
    assert np.abs(np.subtract(losses(tmp_path / 'exact'), found)).max() > 2e-6


def test_vectors_of_another_model_file_or_setting_are_not_taken(tmp_path, sets):
    """One changed thing at a time: each has a fingerprint of its own."""
    model, path, found = write_model(tmp_path / 'm'), tmp_path / 't.tsv', []

    def fingerprint(**changes):
        settings = FinetuneSettings(train_set=str(path), max_seq_len=15, freeze_encoder=True).replace(**changes)
        config = ErnieConfig(json.loads((model / 'ernie_config.json').read_text()))
        tokenizer = FullTokenizer(str(model / 'vocab.txt'), settings.do_lower_case)
        task = ClassificationTask(settings, config, tokenizer, {})
        boost = boosting.Boost(settings, Session(False, seed=1), task)
        rows = task.read(settings.train_set, labelled=True)
        boost.session.initialize(program := boost._program(exact=True))
        tensors = open_model(str(model / 'params'))
        for name in program.parameters():
            boost.session.write(name, tensors[name])
        return stored.folder_of(boost._identity(rows, program))

    def changed(file, change):
        """The fingerprint with another content of a file, which is put back."""
        content = file.read_bytes()
        file.write_bytes(change(content))
        found.append(fingerprint())
        file.write_bytes(content)

    first = fingerprint()
    assert fingerprint(learning_rate=0.5, batch_size=4, epoch=2, head_dropout=0.5) == first
    last_bit = lambda content: content[:-4] + bytes([content[-4] ^ 1]) + content[-3:]  # noqa: E731
    changed(model / 'params' / 'encoder_layer_1_ffn_fc_1.w_0', last_bit)
    changed(model / 'params' / 'pooled_fc.b_0', last_bit)
    changed(path, lambda content: content.rstrip())
    changed(path, lambda content: content.replace(b'\t0\n', b'\t1\n', 1))
    changed(model / 'vocab.txt', lambda content: content.replace('好\n美'.encode(), '美\n好'.encode()))
    changed(model / 'ernie_config.json', lambda content: content.replace(b'"gelu"', b'"relu"'))
    for values in ({'max_seq_len': 7}, {'max_seq_len': 7, 'truncation': 'tail'}, {'drop_html_breaks': True}):
        found.append(fingerprint(**values))
    found += [fingerprint(do_lower_case=False), fingerprint(for_cn=False)]
    assert fingerprint() == first and len({first, *found}) == 12


def test_a_broken_part_is_made_again(tmp_path, train, sets, cache):
    settings = {**FROZEN, **sets, 'boost': True, 'epoch': 2}
    train(**settings)
    (folder,) = [f for f in cache.iterdir() if json.loads((f / 'vectors.json').read_text())['rows'] == 40]
    assert sorted(os.listdir(folder)) == ['lock', *(f'part-00000{i}' for i in range(3)), 'vectors.json']
    good = (folder / 'part-000001').read_bytes()
    for content in (good[:70] + bytes([good[70] ^ 4]) + good[71:], good[:-1], (folder / 'part-000000').read_bytes()):
        (folder / 'part-000001').write_bytes(content)
        ran = train(**settings, checkpoints=tmp_path / 'again', overwrite_checkpoints=True)
        assert '40 rows, 16 computed' in vectors_lines(ran)[0]
        assert (folder / 'part-000001').read_bytes() == good
    assert_equal(tmp_path / 'again/step_10', tmp_path / 'c/step_10')
    (folder / 'vectors.json').write_text(json.dumps(json.loads((folder / 'vectors.json').read_text()) | {'width': 3}))
    with pytest.raises(UserError, match=r'vectors.json: found vectors with another width \(3\), expected 12. Delete'):
        train(**settings, checkpoints=tmp_path / 'again', overwrite_checkpoints=True)
    shutil.rmtree(folder)
    os.symlink(tmp_path, folder)
    with pytest.raises(UserError, match='is a link: vectors are not read from there'):
        train(**settings, checkpoints=tmp_path / 'again', overwrite_checkpoints=True)


def test_what_was_computed_before_a_kill_is_not_computed_again(tmp_path, train, sets, monkeypatch):
    settings = {**FROZEN, **sets, 'boost': True, 'epoch': 1}
    compute, done = boosting.Boost._vectors, []

    def dies(*given):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return compute(*given)

    with monkeypatch.context() as patch:
        patch.setattr(boosting.Boost, '_vectors', dies)
        with pytest.raises(KeyboardInterrupt):
            train(**settings)
    ran = train(**settings, overwrite_checkpoints=True)
    assert '40 rows, 8 computed' in vectors_lines(ran)[0]


def test_maps_are_bounded_and_give_any_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, 'MAPPED_BYTES', 3 * 16 * 4 * 5)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((101, 5)).astype(np.float32)
    found, made = stored.make_vectors({'of': 'test'}, 5, 101, lambda numbers: values[numbers])
    assert (made, len(found)) == (101, 101)
    for _ in range(20):
        indices = rng.integers(0, 101, 9)
        np.testing.assert_array_equal(found.take(indices), values[indices])
        assert len(found._parts) <= 3
    with pytest.raises(UserError, match='vectors of shape .* expected .*, all finite'):
        stored.make_vectors({'of': 'nan'}, 5, 3, lambda numbers: np.full((3, 5), np.nan, np.float32))


def test_a_frozen_encoder_has_no_dropout_but_in_runs_that_began_with_it(tmp_path, train, sets):
    settings = {**FROZEN, **sets, 'epoch': 2, 'head_dropout': 0.0, 'save_steps': 5}
    train(**settings)
    whole = (tmp_path / 'c/step_10').rename(tmp_path / 'whole')
    state = tmp_path / 'c/step_5/training_state.json'
    values = json.loads(state.read_text())
    assert values.pop('encoder_dropout') is False
    state.write_text(json.dumps(values))  # as before there was such a record
    with pytest.raises(UserError, match='step_5: found a training with dropout inside the frozen encoder'):
        train(**settings, resume=True, boost=True)
    assert 'began with dropout inside its frozen encoder, and goes on so' in train(**settings, resume=True).log
    with pytest.raises(AssertionError):
        assert_equal(tmp_path / 'c/step_10', whole)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'freeze_encoder': False}, '--boost true needs --freeze_encoder true'),
        ({'cache': False}, '--boost true keeps vectors in the cache'),
        ({'do_train': False, 'init_checkpoint': 'x'}, '--boost true is of a training'),
    ],
)
def test_what_cannot_be(train, sets, values, words):
    with pytest.raises(UsageError, match=words):
        train(**(FROZEN | sets | {'boost': True} | values))


@pytest.mark.parametrize('flag', [{'boost': True}, {'truncation': 'tail'}, {'drop_html_breaks': True}])
def test_tasks_of_parts_of_texts_have_no_such_settings(tmp_path, model, flag):
    ((name, value),) = flag.items()
    path = table(tmp_path / 't.tsv', sentences(8, 1))
    settings = FinetuneSettings(
        train_set=path, do_val=False, freeze_encoder=True, checkpoints=str(tmp_path / 'c'), **flag
    )
    for task in ('sequence_labeling', 'mrc'):
        with pytest.raises(UsageError, match=f'--{name} {str(value).lower()}: the task {task} reads parts of texts'):
            fine_tune(settings, tasks.find(task).load('training'))
    assert not (tmp_path / 'c').exists()
