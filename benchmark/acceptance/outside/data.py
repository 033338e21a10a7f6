"""Tables, tagged text and questions."""

import json

from benchmark.acceptance.mutations import mutate_json, mutate_json_lines
from benchmark.acceptance.outside.inputs import CONLL, CSV, SQUAD, TAGS, TSV, VOCABULARY
from benchmark.acceptance.outside.registry import parser


def _tokenizer(folder):
    from ernie.tokenization import FullTokenizer

    (folder / 'vocab.txt').write_bytes(VOCABULARY)
    return FullTokenizer(folder / 'vocab.txt')


def _table(name, content, for_cn):
    @parser(name, {name: content})
    def read(folder):
        from ernie.reader.classify import ClassifyReader

        for skip in (False, True):
            reader = ClassifyReader(_tokenizer(folder), 16, for_cn=for_cn, skip_bad_rows=skip, cache=False, processes=1)
            reader.read(folder / name)


_table('data.tsv', TSV, True)
_table('data.csv', CSV, False)
_table('said.csv', 'sep=;\ntext_a;label\n"今;天";1\n热;0\n'.encode(), True)
_table('fast.txt', '__label__1 今天\n__label__0 热 天\n'.encode(), True)


def _tagging(name, content):
    @parser(f'tagging {name}', {name: content})
    def read(folder):
        from ernie.reader.sequence_label import SequenceLabelReader

        for labelled in (True, False):
            reader = SequenceLabelReader(_tokenizer(folder), 16, TAGS, labelled=labelled, cache=False, processes=1)
            reader.read(folder / name)


_tagging('tags.txt', CONLL)
_tagging('tags.tsv', 'text_a\tlabel\n今\x02天\tO\x02B-T\nbad\tO\n'.encode())


@parser('SQuAD JSON', {'s.json': json.dumps(SQUAD).encode()}, mutate_json)
def _squad(folder):
    from ernie.reader.mrc import Limits
    from ernie.reader.question_set import MrcReader
    from ernie.reader.rows import BadRows
    from ernie.reader.squad_json import read_squad

    read_squad(folder / 's.json', BadRows(folder / 's.json'))
    MrcReader(_tokenizer(folder), Limits(16, 6, 4), processes=1).read(folder / 's.json', training=True)


@parser('predictions of questions', {'p.json': b'{"q1": "a", "q2": ""}'}, mutate_json)
def _predictions(folder):
    from ernie.metrics.mrc import load_predictions

    load_predictions(folder / 'p.json')


@parser('JSON lines', {'p.jsonl': '{"text_a": "今天", "x": 1}\n{"text_a": "热"}\n'.encode()}, mutate_json_lines)
def _json_lines(folder):
    from ernie.inference.stream import read_rows

    for row in read_rows(str(folder / 'p.jsonl')):
        str(row.bad and row.bad.as_error('p'))


@parser('JSON array', {'p.json': '[{"text_a": "今天", "x": 1}, {"text_a": "热"}]'.encode()}, mutate_json)
def _json_array(folder):
    from ernie.inference.stream import read_rows

    for row in read_rows(str(folder / 'p.json')):
        str(row.bad and row.bad.as_error('p'))


@parser('table to predict', {'p.tsv': TSV})
def _predict_table(folder):
    from ernie.inference.stream import read_rows

    for row in read_rows(str(folder / 'p.tsv')):
        str(row.bad and row.bad.as_error('p'))
