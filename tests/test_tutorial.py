"""docs/tutorial.ipynb runs from its first cell to its last."""

import os

import pytest

from script.documents.notebook import execute
from script.documents.page import ROOT
from tests.ernie.tiny_model import CONFIG, random_parameters, write_model

TUTORIAL = ROOT / 'docs/tutorial.ipynb'


@pytest.mark.slow
def test_the_notebook_runs_with_a_small_model(tmp_path):
    nbformat = pytest.importorskip('nbformat')
    pytest.importorskip('nbclient')
    config = {**CONFIG, 'max_position_embeddings': 64}
    write_model(tmp_path / 'model', random_parameters(config), config)
    notebook = nbformat.read(TUTORIAL, as_version=4)
    model, data = "MODEL = 'multilingual-e5-small'", "DATA = '../data/messages.csv'"
    for old, new in ((model, "MODEL = 'model'"), (data, f'DATA = {str(ROOT / "data/messages.csv")!r}')):
        assert sum(old in cell.source for cell in notebook.cells) == 1
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'ERNIE_CACHE': str(tmp_path / 'cache')}
    execute(notebook, tmp_path, environment, timeout=120)
    printed = [
        ''.join(o.text for o in cell.outputs if o.get('name') == 'stdout')
        for cell in notebook.cells[1:]
        if cell.cell_type == 'code'
    ]
    assert "'投诉': 80" in printed[0] and 'best checkpoint: runs/tutorial/best' in printed[2]
    assert '表扬' in printed[3] and printed[4].count('\n') == 3
    assert printed[5] == '快递晚了三天 the same\n周末营业吗 the same\n'


def test_its_outputs_are_there_and_name_no_machine():
    text = TUTORIAL.read_text(encoding='utf-8')
    for word in ('/home/', '/tmp/', '/root/', 'http://', 'Traceback'):
        assert word not in text
