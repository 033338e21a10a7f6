"""`huggingface_export`: equal sides are called equal, what differs is found. The other side is played here."""

import json

import numpy as np
import pytest

from benchmark.acceptance import huggingface_export
from ernie.checkpoint import open_model
from ernie.config import ErnieConfig
from ernie.inference import huggingface_check
from propeller.errors import UserError
from tests.ernie.tiny_inference import write_checkpoint
from tests.ernie.tiny_model import BAD, GOOD


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / 'data'
    folder.mkdir()
    cells = [f'{a}{b} {a} {i}' for i, (a, b) in enumerate(zip(GOOD, BAD, strict=False))]
    (folder / 'a.tsv').write_text('\n'.join(f'{i}\t{cell}\x02x' for i, cell in enumerate(cells)), encoding='utf-8')
    (folder / 'b.json').write_text(json.dumps({'data': [{'text': f'text {i}, 好'} for i in range(9)]}))
    (folder / 'c.txt').write_text('not read')
    return folder


def test_texts_of_all_files_without_their_separators(data):
    texts = huggingface_export.texts_of(data, 8)
    assert len(texts) == 8 == len(set(texts)) and not any('\x02' in text for text in texts)
    assert any(text.startswith('text ') for text in texts) and any(text.endswith(' x') for text in texts)
    with pytest.raises(UserError, match='expected 900'):
        huggingface_export.texts_of(data, 900)


@pytest.mark.parametrize(('kind', 'wrong'), [('classify', None), ('tagging', 'scores'), ('reading', 'ids')])
def test_what_differs_is_found(tmp_path, data, monkeypatch, capsys, kind, wrong):
    checkpoint = str(write_checkpoint(tmp_path / kind, kind))
    (tmp_path / 'side').mkdir()
    huggingface_export.our_side(checkpoint, huggingface_export.texts_of(data, 8), str(tmp_path / 'side'))

    def theirs(folder, batches):
        model = open_model(folder)
        found = huggingface_check.outputs(model, ErnieConfig(model.config), batches)
        more = np.float32(1e-3 if wrong == 'scores' else 0)
        return [batch | {'scores': batch['scores'] + more} for batch in found]

    monkeypatch.setattr(huggingface_check, 'their_outputs', theirs)
    if wrong == 'ids':
        with open(tmp_path / 'side' / 'texts.json', encoding='utf-8') as f:
            stored = json.load(f)
        stored['ids'][3][1] += 1
        (tmp_path / 'side' / 'texts.json').write_text(json.dumps(stored))
    assert huggingface_export.main(['--their_side', str(tmp_path / 'side')]) == int(wrong is not None)
    out = capsys.readouterr().out
    assert f'ids of {7 if wrong == "ids" else 8} of 8 texts equal' in out and 'scores differ by' in out
