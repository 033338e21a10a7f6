"""Records in, results out: tokenized beside the engine, in batches of like length, in the order of the records."""

import numpy as np

from ernie.reader.rows import BadRow
from ernie.reader.tokenized_set import TokenizedSet, encoder_arrays
from ernie.tasks.codec import EVERYTHING, BadRecord
from propeller.data.batching import plan_batches
from propeller.data.prefetch import prefetch
from propeller.errors import UserError


class Prediction:
    """The codec of a task, and the engine that runs its model.

    Args:
        codec: `Codec`.
        engine: `ernie.inference.engines.Engine`.
        shapes: shape of each output of the model, -1 for sizes that vary. Of an output whose second size varies each
            row is cut to the length of its tokens.
        batch_size: rows of tokens in a batch.
        window: rows are sorted by length inside windows of so many batches; memory grows with it.
    """

    def __init__(self, codec, engine, shapes, batch_size=32, window=50):
        self.codec, self.engine, self.shapes = codec, engine, shapes
        self.batch_size, self.window = batch_size, max(window, 1)

    def predict(self, records, selection=EVERYTHING):
        """The results of a list of records (dicts), in order. selection: `Selection`.

        Raises:
            BadRecord: one of them cannot be used.
        """
        encoded = [(record, self.codec.encode(record)) for record in records]
        return self._results(encoded, selection)

    def stream(self, rows, selection=EVERYTHING):
        """The results of `Row`s, in order, one for each; None for one that cannot be used.

        Args:
            rows: iterable of `Row`, taken in a thread, two windows ahead at most.
            selection: `Selection`.
        Yields:
            (`Row`, result or None): where the result is None, `bad` of the row says why.
        """
        with prefetch(self._windows(rows), 1) as windows:
            for window in windows:
                usable = [(row.record, encoded) for row, encoded in window if encoded is not None]
                results = iter(self._results(usable, selection))
                for row, encoded in window:
                    yield row, None if encoded is None else next(results)

    def one_by_one(self, rows, selection=EVERYTHING):
        """`stream` without looking ahead: each result before the next row is taken."""
        for row in rows:
            row, encoded = self._encode(row)
            yield row, None if encoded is None else self._results([(row.record, encoded)], selection)[0]

    def _windows(self, rows):
        """Lists of (row, its `Windows` or None); rows of tokens count, as a document may have many."""
        window, count, rows = [], 0, iter(rows)
        while True:
            try:
                row = next(rows, None)
            except UserError:
                if window:
                    yield window  # rows before what ends the file have their results
                raise
            if row is None:
                break
            encoded = self._encode(row)
            window.append(encoded)
            count += len(encoded[1].ids) if encoded[1] else 1
            if count >= self.window * self.batch_size:
                yield window
                window, count = [], 0
        if window:
            yield window

    def _encode(self, row):
        if row.bad is not None:
            return row, None
        try:
            return row, self.codec.encode(row.record)
        except BadRecord as e:
            return row._replace(record=None, bad=BadRow(row.line, e.found, e.expected)), None

    def _results(self, encoded, selection):
        """Results of [(record, `Windows`)]."""
        return [self.codec.select(result, selection) for result in self._decoded(encoded)]

    def _decoded(self, encoded):
        ids = [row for _, windows in encoded for row in windows.ids]
        split = [n for _, windows in encoded for n in windows.split]
        if not ids:
            return [self.codec.decode(record, windows, []) for record, windows in encoded]
        outputs = self._run(ids, split)
        results, start = [], 0
        for record, windows in encoded:
            end = start + len(windows.ids)
            results.append(self.codec.decode(record, windows, outputs[start:end]))
            start = end
        return results

    def _run(self, ids, split):
        """Outputs of each row of tokens, a list of arrays without batch axis."""
        rows, outputs = tokenized_rows(ids, split), [None] * len(ids)
        lengths = rows.lengths
        # One window: its size bounds what is in memory already.
        for indices in plan_batches(lengths, self.batch_size, window=len(ids), shuffle=False):
            fetched = self.engine.run(encoder_arrays(rows, indices, self.codec.task_id))
            for place, i in enumerate(indices):
                outputs[i] = [self._row(array, place, lengths[i], n) for n, array in enumerate(fetched)]
        return outputs

    def _row(self, array, place, length, number):
        varies = len(self.shapes[number]) > 1 and self.shapes[number][1] == -1
        return array[place, :length] if varies else array[place]


def output_shapes(description):
    """Shapes of the outputs of an exported model. description: content of its `inference.json`."""
    return [tuple(output['shape']) for output in description['outputs']]


def tokenized_rows(ids, split):
    """Rows of tokens (`Windows.ids`, `Windows.split`) as a `TokenizedSet`."""
    lengths = np.array([len(row) for row in ids])
    flat = np.fromiter((token for row in ids for token in row), np.int32, lengths.sum())
    return TokenizedSet(flat, np.concatenate([[0], np.cumsum(lengths)]), np.array(split, np.int32))
