"""Before a run begins: what it will write can be written, and is nothing that it reads."""

import os
from types import SimpleNamespace

import pytest

from ernie.run.outputs import check_outputs, model_files
from propeller.errors import UserError
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import VOCABULARY, write_model


@pytest.fixture
def case(tmp_path):
    """Function (flags) that checks the outputs of a run in `tmp_path` with these flags."""
    for name in ('train', 'dev', 'a', 'b'):
        (tmp_path / f'{name}.tsv').write_text('text_a\tlabel\n')
    write_model(tmp_path / 'model')

    def check(**values):
        args = dict.fromkeys(('label_map_config', 'init_checkpoint', 'log_dir', 'vocab_path', 'diagnostic'))
        args |= {
            'train_set': tmp_path / 'train.tsv',
            'dev_set': tmp_path / 'dev.tsv',
            'do_test': True,
            'do_train': True,
        }
        args |= {'test_set': f'{tmp_path}/a.tsv,{tmp_path}/b.tsv', 'test_save': f'{tmp_path}/a.out,{tmp_path}/b.out'}
        args |= {'checkpoints': tmp_path / 'c', 'init_pretraining_params': tmp_path / 'model', **values}
        check_outputs(SimpleNamespace(**{name: value and str(value) for name, value in args.items()}))

    return check


def refused(case, place, flag, **values):
    with pytest.raises(UserError, match=f'{place}: the same file as .*, which is read. Choose another {flag}'):
        case(**values)


def test_a_new_folder_and_an_old_one(case, tmp_path):
    case()
    (tmp_path / 'c' / 'metrics.jsonl').write_text('{}\n')
    (tmp_path / 'a.out.0.3').write_text('of an earlier run')
    case(log_dir=tmp_path / 'logs' / 'new')
    assert (tmp_path / 'logs' / 'new').is_dir()


@pytest.mark.parametrize('name', ['a.out.0.3', 'a.out.12.final'])
def test_predictions_over_the_rows_of_another_set(case, tmp_path, name):
    os.link(tmp_path / 'dev.tsv', tmp_path / name)
    refused(case, name, '--test_save')
    case(do_test='')
    case(test_save=f'{tmp_path}/x.out,{tmp_path}/b.out')


def test_a_name_that_only_begins_alike(case, tmp_path):
    case(test_save=f'{tmp_path}/a,{tmp_path}/b')


def test_the_diagnostic_set(case, tmp_path):
    refused(case, 'a.tsv', '--diagnostic_save', diagnostic=tmp_path / 'a.tsv', diagnostic_save=tmp_path / 'a.tsv')
    refused(
        case,
        'vocab.txt',
        '--diagnostic_save',
        diagnostic=tmp_path / 'a.tsv',
        diagnostic_save=tmp_path / 'model/vocab.txt',
    )
    case(diagnostic=tmp_path / 'a.tsv', diagnostic_save=os.devnull)


@pytest.mark.parametrize('name', ['metrics.jsonl', 'curves.png', 'reports/dev.json', '8_dev_predictions.json'])
def test_what_lies_in_the_folder_of_checkpoints(case, tmp_path, name):
    (tmp_path / 'c' / 'reports').mkdir(parents=True)
    (tmp_path / 'c' / name).symlink_to(tmp_path / 'train.tsv')
    refused(case, name, '--checkpoints')


def test_a_device_takes_predictions_as_it_is(case):
    case(test_save=f'{os.devnull},{os.devnull}')


def test_a_log_folder_that_cannot_be(case, tmp_path):
    with pytest.raises(UserError, match='train.tsv/logs: cannot write there .*--log_dir'):
        case(log_dir=tmp_path / 'train.tsv' / 'logs')


def test_the_files_of_a_model(tmp_path):
    fluid, ours = write_model(tmp_path / 'fluid'), write_checkpoint(tmp_path / 'ours')
    (ours / 'predictions.tsv').touch()

    def names(path):
        return {os.path.relpath(file, path) for file in model_files(str(path))}

    assert names(ours) == {'model.safetensors', 'vocab.txt', 'labels.json', 'ernie_config.json'}
    assert names(fluid) > {'vocab.txt', 'ernie_config.json', 'params/word_embedding'}
    assert 'word_embedding' in names(fluid / 'params') and len(VOCABULARY) > 0
    assert model_files(None) == [] and model_files('x.pdparams') == ['x.pdparams']
