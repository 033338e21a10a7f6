"""Scores of engines on the dev set of every task, and how fast they are."""

import json
import math

import numpy as np
import pytest

from ernie.inference.engines import ExecutorEngine
from ernie.inference.folder import ModelFolder
from ernie.inference.int8.data import read_data
from ernie.inference.int8.scores import VectorScores, rates
from ernie.inference.predict import Prediction
from tests.ernie.tiny_inference import records, texts, write_checkpoint
from tests.ernie.tiny_model import write_table


@pytest.mark.parametrize('kind', ['regression', 'multilabel', 'reading'])
def test_a_model_scores_100_on_its_own_answers(kind, tmp_path):
    folder = ModelFolder(str(write_checkpoint(tmp_path / 'c', kind)))
    rows = records(kind, 30, seed=3)
    graph = folder.graph()
    engine = ExecutorEngine(graph.session, graph.program, graph.outputs)
    results = Prediction(folder.codec, engine, graph.shapes(), 4).predict(rows)
    if kind == 'reading':
        paragraphs = [
            {
                'context': row['context'],
                'qas': [
                    {
                        'id': row['id'],
                        'question': row['question'],
                        'answers': [{'text': result['answer'], 'answer_start': result['start']}],
                    }
                ],
            }
            for row, result in zip(rows, results, strict=True)
            if result['answer']
        ]
        path = tmp_path / 'dev.json'
        path.write_text(json.dumps({'data': [{'paragraphs': paragraphs}]}, ensure_ascii=False), encoding='utf-8')
    else:
        label = {'multilabel': lambda r: ','.join(r['labels']), 'regression': lambda r: r['value']}[kind]
        kept = [
            (row['text_a'], row['text_b'], label(result))
            for row, result in zip(rows, results, strict=True)
            if row.get('text_b') and row['text_a']
        ]
        path = write_table(tmp_path / 'dev.tsv', ['text_a', 'text_b', 'label'], kept)
    data = read_data(folder, None, str(path), calibrates=False)
    assert data.scores.of(engine) == pytest.approx(100, abs=1e-3)


@pytest.mark.parametrize('kind', ['tagging', 'crf'])
def test_a_tagger_scores_100_on_its_own_labels(kind, tmp_path):
    folder = ModelFolder(str(write_checkpoint(tmp_path / 'c', kind)))
    graph = folder.graph()
    engine = ExecutorEngine(graph.session, graph.program, graph.outputs)
    tokens = [list(text[:12].replace(' ', '')) for text in texts(30, 4) if len(text) > 2]
    tokens = [row for row in tokens if row]
    results = Prediction(folder.codec, engine, graph.shapes(), 4).predict(
        [{'text_a': '\x02'.join(row), 'tokens': row} for row in tokens]
    )
    rows = []
    for row, result in zip(tokens, results, strict=True):
        labels = ['O'] * len(row)
        for entity in result['entities']:
            for i in range(entity['start_token'], entity['end_token']):
                labels[i] = ('B-' if i == entity['start_token'] else 'I-') + entity['type']
        rows.append(('\x02'.join(row), '\x02'.join(labels)))
    path = write_table(tmp_path / 'dev.tsv', ['text_a', 'label'], rows)
    scores = read_data(folder, None, path, calibrates=False).scores
    assert scores.measure == 'f1' and scores.of(engine) == pytest.approx(100)


def test_cosines_and_rates(tmp_path):
    from sklearn.metrics.pairwise import cosine_similarity

    from ernie.inference.predict import tokenized_rows

    rng = np.random.default_rng(0)
    rows = tokenized_rows([[1] * n for n in rng.integers(2, 9, 70)], [2] * 70)
    table = rng.normal(size=(70, 5)).astype(np.float32)
    other = table + 0.3 * rng.normal(size=(70, 5)).astype(np.float32)

    class Engine:
        def __init__(self, vectors):
            self.vectors, self.batches = iter(vectors), 0

        def run(self, arrays):
            self.batches += 1
            return [np.stack([next(self.vectors) for _ in arrays[0]])]

    scores = VectorScores('x', rows)
    assert scores.of(Engine(table)) == pytest.approx(100)
    assert scores.of(Engine(other)) == pytest.approx(100 * np.diag(cosine_similarity(table, other)).mean(), abs=1e-4)
    assert scores.of(Engine(np.full_like(table, np.nan))) == -math.inf
    engines = {'a': Engine(np.zeros((1000, 5))), 'b': Engine(np.zeros((1000, 5)))}
    found, timed = rates(engines, scores)
    assert timed == 70 and set(found) == {'a', 'b'} and min(found.values()) > 0
    assert engines['a'].batches == engines['b'].batches == 4 * 3
