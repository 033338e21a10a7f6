"""docs/export_elsewhere.md: an export used without this project gives what `ernie.load` gives."""

import sys

import numpy as np
import pytest

import ernie
import infer_classifyer
from script.documents.page import ROOT, Page
from tests.ernie.tiny_model import VOCABULARY, flags, run, sentences, table, write_model

FILES = {block.value: block.text for block in Page(ROOT / 'docs/export_elsewhere.md').blocks if block.mark == 'file'}
TEXTS = [
    *(
        '好',
        '这是一个很长很长的句子，长得不能全部放进模型里面去',
        '',
        ' 好 的。 ',
        'FINELY poor,好',
        'é fine ｆ',
        '한국어 好',
    ),
    *(text for text, _ in sentences(20, 5)),
]


@pytest.fixture(scope='module', params=['single', 'pair'])
def exported(request, tmp_path_factory):
    """(folder of Paddle's export, of the ONNX one, texts) of a model of one or two texts."""
    folder = tmp_path_factory.mktemp(request.param)
    pair = request.param == 'pair'
    rows = [(text, text[::-1], label) if pair else (text, label) for text, label in sentences(30, 1)]
    header = ('text_a', 'text_b', 'label') if pair else ('text_a', 'label')
    train = table(folder / 'train.tsv', rows, header)
    tokens = [*VOCABULARY, *'快递晚三天周末营业吗']
    lines = [f'{token}\t{number}' for number, token in enumerate(tokens)] if pair else tokens  # the form of 2019
    model = write_model(folder / 'model', vocabulary=lines)
    settings = {'init_pretraining_params': model, 'train_set': train, 'dev_set': train, 'do_test': False}
    run(**settings, epoch=3, num_labels=2, checkpoints=folder / 'out', save_steps=100)
    for form in ('paddle', 'onnx'):
        where = {'init_checkpoint': folder / 'out/best', 'save_inference_model_path': folder / form}
        infer_classifyer.main(flags(**where, export_format=form, do_prediction=False))
    texts = list(zip(TEXTS, TEXTS[::-1], strict=True)) if pair else TEXTS
    return *(folder / form / 'best_inference_model' for form in ('paddle', 'onnx')), texts


def program(name, folder, texts):
    """The file of the page as Python text, for another folder and other texts."""
    code = FILES[name]
    (quoted,) = [line for line in code.splitlines() if line.startswith('folder = ')]
    return code.replace(quoted, f'folder = {str(folder)!r}').replace("['快递晚了三天', '周末营业吗']", repr(texts))


@pytest.fixture
def texts_module(tmp_path, monkeypatch):
    (tmp_path / 'texts.py').write_text(FILES['texts.py'], encoding='utf-8')
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop('texts', None)


@pytest.mark.parametrize(('name', 'which'), [('with_paddle.py', 0), ('with_onnxruntime.py', 1)])
def test_the_programs_of_the_page_give_what_ernie_load_gives(exported, texts_module, name, which, capsys):
    folder, texts = exported[which], exported[2]
    names = {}
    exec(compile(program(name, folder, texts), name, 'exec'), names)
    with ernie.load(folder) as model:
        expected = model(texts)
    wanted = np.array([list(result['probabilities'].values()) for result in expected])
    np.testing.assert_allclose(names['probabilities'], wanted, atol=1e-6)
    labels = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert labels == [result['label'] for result in expected]
    assert np.ptp(wanted[:, 0]) > 0.005  # else anything would do
