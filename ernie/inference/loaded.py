"""`LoadedModel`: a trained model as a function of texts, what `ernie.load` returns. Shapes: N texts, H hidden."""

from collections.abc import Iterable, Mapping, Sized

import numpy as np

from ernie.inference.stream import Row, join_tokens
from ernie.reader.columns import TEXTS
from ernie.reader.naming import NAMINGS, SeveralColumns
from ernie.reader.objects import renamed
from ernie.reader.rows import BadRow
from ernie.settings.base import Settings
from ernie.settings.predict import PredictSettings
from ernie.tasks.codec import EVERYTHING, BadRecord
from propeller.errors import UserError, bad_input, quoted


class LoadedModel:
    """A model in memory; a context manager that closes it.

    Several threads may call it: they prepare texts and read results at the same time, and compute one after the other.
    """

    def __init__(self, prediction, selection=EVERYTHING):
        self._prediction, self._selection = prediction, selection

    def __call__(self, inputs, *, top_k=None, min_confidence=None):
        """The results of texts.

        Args:
            inputs: a text, a pair (tuple) or a record (dict with `text_a` and `text_b`, or `question` and `context`);
                a list or any other sized collection of them; an iterator of them.
            top_k, min_confidence: instead of those of `load`, where they are given.

        Returns:
            the result: a dict, for vectors float32 [H]; of a collection a list of results in its order, for vectors
            float32 [N, H]; of an iterator an iterator of results, which takes two windows of inputs ahead at most.

        Raises:
            UserError: an input that the model cannot use, or the model is closed. Of an iterator it comes in the place
                of its result.
        """
        prediction = self._prediction
        if prediction is None:
            raise UserError('this model is closed.')
        selection = _selected(prediction.codec, self._selection, top_k, min_confidence)
        if hasattr(inputs, 'columns') and hasattr(inputs, 'to_dict'):  # it would iterate over the names of its columns
            found, expected = f'a table ({type(inputs).__name__})', 'texts, or one record a row'
            raise bad_input('input', found, expected, advice="df['text_a'] has texts, df.to_dict('records') records.")
        if isinstance(inputs, str | bytes | tuple | Mapping) or not isinstance(inputs, Iterable):
            return _result(prediction, inputs, selection)
        results = _results(prediction, inputs, selection)
        if not isinstance(inputs, Sized):
            return results
        results, empty = list(results), prediction.codec.empty
        return results if empty is None else np.stack(results) if results else empty

    def close(self):
        """Give up the model and its memory. Iterators of results that are not at their end go on."""
        self._prediction = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _selected(codec, selection, top_k, min_confidence):
    """`Selection` of one call. selection: that of the model, for what is None."""
    given = {'top_k': top_k, 'min_confidence': min_confidence}
    given = {name: value for name, value in given.items() if value is not None}
    if given:
        selection = selection._replace(**given)
        Settings.checked(PredictSettings(**selection._asdict()))
        codec.check_selection(selection)
    return selection


def _result(prediction, value, selection):
    """Of one input, without the thread that takes others ahead."""
    row = _row(prediction.codec, value)
    if row.bad:
        raise row.bad.as_error('input')
    try:
        return prediction.predict([row.record], selection)[0]
    except BadRecord as e:
        raise bad_input('input', e.found, e.expected) from None


def _results(prediction, inputs, selection):
    rows = (_row(prediction.codec, value, number) for number, value in enumerate(inputs, start=1))
    for row, result in prediction.stream(rows, selection):
        if result is None:
            raise row.bad.as_error('input')
        yield result


def _row(codec, value, number=None):
    """An input as a `Row`. number: of the input, None where there is one."""
    columns = codec.columns
    names = [name for name in columns.names if name in (*TEXTS, *columns.required)]
    if isinstance(value, Mapping):
        return row_of_record(codec, dict(value), number)
    values = value if isinstance(value, tuple) else (value,)
    if len(columns.required) <= len(values) <= len(names) and all(isinstance(text, str) for text in values):
        return Row(number, dict(zip(names, values, strict=False)))
    what = {1: 'a text', 2: f'a pair ({", ".join(names)})'}
    counts = range(len(columns.required), len(names) + 1)
    expected = ' or '.join([*(what.get(n, f'a tuple of {n} texts') for n in counts), 'a dict'])
    return Row(number, None, BadRow(number, f'{quoted(value, 80)} ({type(value).__name__})', expected))


def row_of_record(codec, record, number):
    """A record, whose keys are recognised as the columns of files are."""
    columns = codec.columns
    if not all(name in record for name in columns.required):
        optional = [name for name in TEXTS if name in columns.names]
        naming = NAMINGS[columns.words](columns.required, None, codec.settings.get('column_names'), optional, False)
        try:
            called = naming.of([key for key in record if isinstance(key, str)], 'input')
        except SeveralColumns as e:
            return Row(number, None, BadRow(number, e.found, 'one of them, or the key text_a'))
        except UserError:  # the codec says what it needs
            called = {}
        record = renamed(record, called)
    join_tokens(record, columns)
    return Row(number, record)
