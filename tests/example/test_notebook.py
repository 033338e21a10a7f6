"""example/propeller_xnli_demo.ipynb runs from its first cell to its last."""

import os

import pytest

from script.documents.notebook import execute
from tests.example.common import ROOT, write_tiny_model

NOTEBOOK = ROOT / 'example/propeller_xnli_demo.ipynb'


@pytest.mark.slow
def test_the_notebook_runs_with_a_small_model(tmp_path):
    nbformat = pytest.importorskip('nbformat')
    pytest.importorskip('nbclient')
    write_tiny_model(tmp_path / 'model')
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    changes = (
        ("MODEL = 'multilingual-e5-small'", "MODEL = 'model'"),
        ('MAX_SEQLEN, EPOCHS, EVERY = 128, 3, 5', 'MAX_SEQLEN, EPOCHS, EVERY = 30, 1, 6'),
    )
    for old, new in changes:
        assert sum(old in cell.source for cell in notebook.cells) == 1
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    execute(notebook, tmp_path, {**os.environ, 'PYTHONPATH': str(ROOT)}, timeout=200)
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == 'code']
    printed = [''.join(o.text for o in cell if o.get('name') == 'stdout') for cell in outputs]
    assert printed[1].startswith('train 200 rows, the first: ')
    assert printed[4].startswith("steps 12 best {'dev': {'loss': ")
    assert printed[6].startswith('accuracy ') and printed[6].count('\n') == 5
    assert printed[8].startswith('(32, 3) accuracy of the first batch ')
    pictures = [bool([o for o in cell if 'image/png' in o.get('data', ())]) for cell in outputs]
    assert [number for number, has_one in enumerate(pictures) if has_one] == [5, 7]


def test_its_outputs_are_there_and_name_no_machine():
    text = NOTEBOOK.read_text(encoding='utf-8')
    assert '"image/png"' in text and 'accuracy' in text
    for word in ('/home/', '/tmp/', '/root/', '/work/', 'http://', 'Traceback', 'stderr'):
        assert word not in text
