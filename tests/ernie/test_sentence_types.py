"""A model with one sentence type and pairs of texts: an error of ours, in every program, before Paddle's."""

import json

import pytest

from ernie.inference.export import export, sample_batches
from ernie.inference.folder import ModelFolder
from ernie.tasks.codec import BadRecord
from propeller.errors import UserError
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import CONFIG, table, write_model

ONE = {**CONFIG, 'type_vocab_size': 1}


def test_training_names_the_row(tmp_path, train):
    model = write_model(tmp_path / 'one', config=ONE)
    data = table(tmp_path / 't.tsv', [('甲', '', '0'), ('甲', '乙', '1')], ('text_a', 'text_b', 'label'))
    with pytest.raises(UserError, match=r't.tsv:3: found a pair of texts, expected single texts: .*type_vocab_size 1'):
        train(train_set=data, init_pretraining_params=model, do_val=False, epoch=1)


def test_prediction_and_export(tmp_path):
    one = ModelFolder(write_checkpoint(tmp_path / 'one', 'classify', ONE))
    assert one.codec.encode({'text_a': '好'}).ids
    with pytest.raises(BadRecord, match='a pair of texts'):
        one.codec.encode({'text_a': '好', 'text_b': '坏'})
    assert not any(batch[1].any() for batch in sample_batches(one))  # the export is checked without pairs
    export(one, str(tmp_path / 'exported'))
    assert json.loads((tmp_path / 'exported' / 'ernie_config.json').read_text())['type_vocab_size'] == 1
    with pytest.raises(UserError, match='has 1 sentence type .type_vocab_size 1., and question and context need one'):
        ModelFolder(write_checkpoint(tmp_path / 'reading', 'reading', ONE))
