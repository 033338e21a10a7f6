"""Reading comprehension at prediction time: a question and a context in, the part of the context that answers out."""

from typing import NamedTuple

from ernie.decoding.answers import Answer, DecodingRules, cutter, find_answers
from ernie.decoding.cells import escape
from ernie.reader.columns import Columns
from ernie.reader.mrc import Limits, build_rows
from ernie.reader.sentence_types import check_two_types
from ernie.reader.simplify import Simplifier
from ernie.tasks.codec import EVERYTHING, BadRecord, Codec, Windows
from propeller.errors import UsageError

_COUNT = (lambda value: type(value) is int and 1 <= value < 1 << 31, 'a whole number from 1')
_FLAG = (lambda value: isinstance(value, bool), 'true or false')
FIELDS = dict.fromkeys(('max_query_length', 'doc_stride', 'max_answer_length', 'n_best_size'), _COUNT)
FIELDS |= dict.fromkeys(('to_simplified', 'unanswerable'), _FLAG)
FIELDS['null_score_diff_threshold'] = (lambda value: type(value) in (int, float), 'a number')
COLUMNS = ('id', 'answer', 'start', 'end', 'probability')


class _Decoding(NamedTuple):
    """What `decode` needs of `encode`: the document's tokens as slices of the context, and the windows over them."""

    starts: list
    ends: list
    windows: list


class MrcCodec(Codec):
    """Records `{"id"?, "question", "context"}` -> `{"id", "answer", "start", "end", "probability", "n_best": [...]}`.

    `context[start:end]` is the answer. When the model says that the context does not hold one, the answer is '' and
    start and end are None. Each entry of `n_best` has the last four, `text` for the answer, and both logits.

    Settings beside those of all tasks: `max_query_length`, `doc_stride`, `max_answer_length`, `n_best_size`,
    `to_simplified`, `unanswerable`, `null_score_diff_threshold`; what is not there is as in run_mrc.py by default.
    """

    columns = Columns(('question', 'context'), ('id',), words='questions')
    unselectable = {}
    echo = ('id',)
    fields = {
        'id': str,
        'answer': str,
        'start': int,
        'end': int,
        'probability': float,
        'n_best': [dict(zip(Answer._fields, (str, int, int, float, float, float), strict=True))],
    }

    def __init__(self, config, tokenizer, settings):
        super().__init__(config, tokenizer, settings)
        check_two_types(config)
        self.limits = Limits(**_given(settings, Limits._fields))
        self.limits.check()
        self.rules = DecodingRules(**_given(settings, DecodingRules._fields))
        self.simplify = Simplifier() if settings.get('to_simplified') else lambda text: text

    def encode(self, record):
        question, context = (self._text(record, key) for key in self.columns.required)
        document = self.tokenizer.encode_aligned(self.simplify(context))
        asked = self.tokenizer.encode(self.simplify(question))
        rows = build_rows(asked, document.ids, self.limits, self.tokenizer.vocab)
        kept = _Decoding(document.starts, document.ends, rows.windows)
        cut = len(asked) > self.limits.max_query_length
        return Windows(rows.ids, [rows.split] * len(rows.ids), kept, cut)

    @staticmethod
    def _text(record, key):
        value = record.get(key)
        if not isinstance(value, str):
            raise BadRecord(f'no text in {key}' if value is None else f'{key} {value!r}', f'a text in {key}')
        if not value.strip():
            raise BadRecord(f'an empty {key}', 'some text')
        return value

    def decode(self, record, windows, outputs):
        kept = windows.context
        cut = cutter(record['context'], kept.starts, kept.ends)
        best, n_best = find_answers(kept.windows, outputs, windows.split[0], cut, self.rules)
        result = {'id': record['id']} if 'id' in record else {}
        result |= {'answer': best.text if best.start is not None else '', 'start': best.start, 'end': best.end}
        result |= {'probability': best.probability if best.start is not None or self.rules.unanswerable else 0.0}
        result['n_best'] = [answer._asdict() for answer in n_best if answer.start is not None or not answer.text]
        return result

    def check_selection(self, selection):
        super().check_selection(selection)
        if selection.top_k is not None and selection.top_k > self.rules.n_best_size:
            what = f'--top_k {selection.top_k}: this model keeps {self.rules.n_best_size} answers (n_best_size).'
            raise UsageError(f'{what} Ask for at most so many.')

    def select(self, result, selection):
        """`answer`, `start` and `end` are None where it is less probable than `min_confidence`; `n_best` has the
        `top_k` best answers.
        """
        if selection.min_confidence is not None and result['probability'] < selection.min_confidence:
            result = result | dict.fromkeys(('answer', 'start', 'end'))
        if selection.top_k is not None:
            result = result | {'n_best': result['n_best'][: selection.top_k]}
        return result

    def answers(self, result, selection=EVERYTHING):
        if selection.top_k and result['answer'] is not None:
            return [(answer['text'], answer['probability']) for answer in result['n_best']]
        return [(result['answer'], result['probability'])]

    def header(self):
        return list(COLUMNS)

    def cells(self, result):
        probability = f'{result["probability"]:.6f}'
        values = (result.get(name) for name in COLUMNS[:-1])
        return [*('' if value is None else escape(str(value)) for value in values), probability]


def _given(settings, names):
    return {name: settings[name] for name in names if name in settings}
