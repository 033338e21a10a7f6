"""Sentences to tag in the form of CoNLL: a line per token."""

import itertools

from ernie.reader.conll import read_sentences, width_of
from ernie.reader.forms import Look
from ernie.reader.records import open_rows
from ernie.reader.sentences import decoded
from ernie.tasks.codec import InputForm

ENDINGS = ('.conll', '.bio', '.iob')
_FIRST_LINES = 200  # enough to see how many columns there are


class ConllForm(InputForm):
    """Records for `SequenceLabelingCodec`: the tokens of each sentence. Labels, in the last column, are not read."""

    def is_form_of(self, path):
        return path.lower().removesuffix('.gz').endswith(ENDINGS)

    def records(self, path):
        with open_rows(path, 'a file of tokens') as file:
            lines = Look(path, file).lines()
            head = list(itertools.islice(lines, _FIRST_LINES))
            width = width_of(decoded(path, head))
            for sentence in read_sentences(path, itertools.chain(head, lines), width, {}, labelled=False):
                yield {'text_a': sentence.tokens}
