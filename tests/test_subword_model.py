"""A model of ERNIE tiny through the programs: its tokenizer goes into checkpoint and export, and no other is used."""

import json

import numpy as np
import pytest

import ernie
from ernie.inference.folder import ModelFolder
from ernie.tokenizers.subword_files import MODEL, PICKLED
from propeller.errors import UserError
from tests.ernie.tiny_inference import infer
from tests.ernie.tiny_model import CONFIG, run, table, write_model
from tests.ernie.tiny_subword import SENTENCES, subword_folder


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    pytest.importorskip('sentencepiece')
    root = tmp_path_factory.mktemp('tiny')
    tokens = subword_folder(root / 'model')
    write_model(root / 'model', config=CONFIG | {'vocab_size': len(tokens)}, vocabulary=tokens)
    data = table(root / 'train.tsv', [(text, i % 2) for i, text in enumerate(SENTENCES * 2)])
    start = {'init_pretraining_params': root / 'model', 'train_set': data, 'checkpoints': root / 'run'}
    run(**start, epoch=1, do_val=False, do_test=False)
    (checkpoint,) = (root / 'run').glob('step_*')
    return root, checkpoint


def test_a_checkpoint_has_its_tokenizer(trained):
    root, checkpoint = trained
    for name in (MODEL, PICKLED):
        assert (checkpoint / 'subword' / name).read_bytes() == (root / 'model/subword' / name).read_bytes()
    config = json.loads((checkpoint / 'tokenizer_config.json').read_text())
    assert config['tokenizer_class'] == 'SubwordTokenizer' and len(config['subword']) == 3
    assert json.loads((checkpoint / 'labels.json').read_text())['tokenizer'] == 'SubwordTokenizer'
    files = {'sentence_piece_model': checkpoint / 'subword' / MODEL, 'word_dict': checkpoint / 'subword' / PICKLED}
    assert ModelFolder(str(checkpoint), **files).codec.tokenizer.encode('北京')
    other = root / 'words.txt'
    other.write_text('北京\n')
    with pytest.raises(UserError, match='other words than'):
        ModelFolder(str(checkpoint), **files | {'word_dict': other})


def test_an_export_has_it_too(trained):
    root, checkpoint = trained
    infer(init_checkpoint=checkpoint, save_inference_model_path=root, use_cuda=False)
    (exported,) = root.glob('*_inference_model')
    assert (exported / 'subword' / MODEL).read_bytes() == (checkpoint / 'subword' / MODEL).read_bytes()
    with ernie.load(str(exported)) as model, ernie.load(str(checkpoint), engine='executor') as origin:
        for ours, theirs in zip(model(SENTENCES), origin(SENTENCES), strict=True):
            assert ours['label'] == theirs['label']
            np.testing.assert_allclose(
                list(ours['probabilities'].values()), list(theirs['probabilities'].values()), atol=1e-5
            )
