"""Folders of runs, as `ernie compare` and report.html read them."""

import json

from benchmark.acceptance.mutations import mutate_json
from benchmark.acceptance.outside.registry import parser

_ROW = {'precision': 0.5, 'recall': 0.5, 'f1': 0.5, 'support': 2}
_REPORT = {
    'classes': [{'name': 'a', **_ROW}, {'name': 'b', **_ROW}],
    'accuracy': 0.5,
    'macro_avg': _ROW,
    'weighted_avg': _ROW,
    'confusion_matrix': [[1, 1], [1, 1]],
}
_SUMMARY = {
    'file': 'dev.tsv',
    'place': 0,
    'step': 3,
    'values': {'acc': 0.5, 'loss': None},
    'main_value': 0.5,
    'report': _REPORT,
    'content': 'abc',
    'kind': 'classify',
    'unit': 'rows',
    'count': 4,
    'wrong': 2,
    'entries': 2,
    'calibration': {'count': [0, 4], 'confidence': [0.0, 0.7], 'accuracy': [0.0, 0.5], 'ece': 0.2},
    'curves': {'a': {'precision': [1.0, 0.5], 'recall': [0.5, 1.0], 'threshold': [0.9, 0.1], 'average_precision': 0.7}},
}
_FACTS = {
    'version': '1',
    'task': 'classification',
    'kind': 'classify',
    'columns': ['text_a'],
    'languages': ['zh'],
    'seconds': 3.5,
    'model': {'path': 'm', 'origin': {'name': 'x'}, 'parameters': 9, 'layers': 1, 'hidden': 2, 'vocabulary': 3},
    'train': {'file': 't', 'rows': 4, 'tokens_mean': 2.5, 'tokens_most': 3, 'max_seq_len': 8, 'classes': [['a', 2]]},
    'dev': [{'file': 'dev.tsv', 'rows': 4}],
}
_SCORES = {'step': 3, 'epoch': 0, 'acc': 0.5, 'main_value': 0.5, 'file': 'dev.tsv'}
_RECORD = {'step': 1, 'epoch': 0, 'phase': 'dev', 'time': 1.5, 'loss': 0.5, 'acc': None, 'file': 'dev.tsv'}
_FILES = {
    'facts.json': json.dumps(_FACTS).encode(),
    'metrics.json': json.dumps(_SCORES).encode(),
    'dev.summary.json': json.dumps(_SUMMARY).encode(),
    'metrics.jsonl': json.dumps(_RECORD).encode(),
}
_PLACES = {'metrics.json': 'best', 'dev.summary.json': 'reports'}


def _run(name):
    @parser(f'run folder {name}', {name: _FILES[name]}, mutate_json)
    def read(folder):
        from ernie.report import drawing
        from ernie.report.comparison import compare
        from ernie.report.curves import by_set, panels_of, series
        from ernie.report.page import write_page
        from ernie.report.run_files import read_run

        for file, content in _FILES.items():
            place = folder / 'run' / _PLACES.get(file, '')
            place.mkdir(parents=True, exist_ok=True)
            (place / file).write_bytes((folder / file).read_bytes() if file == name else content)
        run, render = read_run(str(folder / 'run')), drawing.render
        compare([run, run])
        for phase in by_set(run.records):
            series(run.records, phase, panels_of(run.records)[-1])
        drawing.render = lambda *_: b''  # matplotlib takes longer than all else; what it draws is checked before
        try:
            write_page(run, str(folder / 'page.html'))
        finally:
            drawing.render = render


for _name in _FILES:
    _run(_name)
