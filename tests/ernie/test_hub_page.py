"""The code of docs/hub.md, which is that of PaddleHub's page, with a small ELMo and few rows."""

import numpy as np
import pytest

import ernie.hub as hub
from ernie.hub import names
from script.documents.page import ROOT, Page
from tests.ernie.tiny_model import random_parameters, sentences, write_model, write_table

WORDS = ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]', *'好美赞棒香差丑烂坏臭的一是不了人我在有他这中大来上国个到说们']
ELMO = {
    'encoder': 'elmo', 'vocab_size': len(WORDS), 'hidden_size': 8, 'emb_size': 6, 'cell_size': 10,
    'num_hidden_layers': 2, 'max_position_embeddings': 64, 'initializer_range': 0.1,
}  # fmt: skip


@pytest.fixture
def elmo(tmp_path):
    values = random_parameters(ELMO)
    gammas = {name: np.ones_like(value) for name, value in values.items() if name.startswith('gamma')}
    folder = write_model(tmp_path / 'elmo', {**values, **gammas}, ELMO, WORDS)
    settings = '{"tokenizer_class": "WordTokenizer", "do_lower_case": true, "lexer": "spaces"}'
    (folder / 'tokenizer_config.json').write_text(settings)
    return folder


def test_the_code_of_the_page_runs_as_it_stands(elmo, tmp_path, monkeypatch, capsys):
    files = {}
    for name, count in (('train', 70), ('dev', 9), ('test', 5)):
        rows = [(label, ' '.join(text)) for text, label in sentences(count, seed=count)]
        files[name] = write_table(tmp_path / f'{name}.tsv', ['label', 'text_a'], rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(names.ALIASES, 'elmo', str(elmo))
    monkeypatch.setattr(hub.dataset, 'ChnSentiCorp', lambda: hub.dataset.Files(**files))
    blocks, space = Page(ROOT / 'docs/hub.md').texts('python'), {}
    assert len(blocks) == 7
    for block in blocks[:6]:
        exec(block, space)  # the page's own code
    task = space['elmo_task']
    results = zip(space['data'], task.predict(space['data'], return_result=True), strict=True)
    assert capsys.readouterr().out.splitlines() == [f'{text}\tpredict={i}' for (text,), i in results]
    assert task.module.config.encoder == 'elmo' and task.reader.lexer == 'spaces'
    before, program = random_parameters(ELMO), task.build('predict')
    assert program.rates['embedding_0.w_0'] == 30.0
    moved = [n for n in before if n in program.parameters() and not np.array_equal(task.session.read(n), before[n])]
    assert 'embedding_para' in moved and any(name.startswith('lstmp_') for name in moved)
    exec(blocks[6], space)
    assert space['vector'].shape == (-1, 8 + 128)
