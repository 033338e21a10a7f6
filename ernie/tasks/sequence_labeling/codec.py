"""Sequence labelling at prediction time: raw text in, entities out, with their places in the text."""

import itertools
import re
from typing import NamedTuple

import numpy as np

from ernie.decoding.cells import escape
from ernie.decoding.classes import count_labels, label_names
from ernie.decoding.crf import WEIGHTS
from ernie.decoding.labels import best_labels, label_probabilities, token_labels
from ernie.decoding.scheme import SCHEMES, chunks
from ernie.metrics.chunk_errors import growing, join
from ernie.reader.columns import Columns
from ernie.reader.sentences import SEPARATOR
from ernie.reader.sequence_label import tag_map_fault
from ernie.reader.windows import best_windows, cut_windows
from ernie.tasks.codec import EVERYTHING, BadRecord, Codec, Windows
from ernie.tokenizers.token_cut import AS_TOKENIZER, TokenCut, slices
from propeller.errors import UserError

FIELDS = {
    'chunk_scheme': (lambda value: value in tuple(SCHEMES), f'one of {", ".join(SCHEMES)}'),
    'use_crf': (lambda value: isinstance(value, bool), 'true or false'),
    'token_cut': (TokenCut.is_record, 'a rule as training writes it'),
}
_SENTENCE_END = re.compile(
    r'[。！？…]+[”’」』）》]*|\n|(?:(?<=[a-z0-9)\]][a-z0-9)\]])\.|[!?])["\'’”)]*(?=\s+["\'“‘(]?[A-Z0-9])'
)


class Words(NamedTuple):
    """The tokens of a text, here called words: per word its slice of the text and its first and last piece."""

    starts: list
    ends: list
    first: list
    last: list


class _Context(NamedTuple):
    """What `decode` needs of a text.

    parts: list of (first word, word after the last): what is labelled on its own.
    windows: list of (first piece, number of pieces), each within a part.
    """

    text: str
    words: Words
    parts: list
    windows: list


def sentence_ends(text):
    """Offsets behind the sentences of a text, ascending. A dot ends one only where no abbreviation can be meant."""
    return [match.end() for match in _SENTENCE_END.finditer(text)]


def _readable(result):
    """The result of a list of tokens, which U+0002 parts: a text to read, and the places of entities in both."""
    given, tokens = result['text'], result['text'].split(SEPARATOR)
    starts = [len(part) - len(token) for part, token in zip(growing(tokens), tokens, strict=True)]
    entities = []
    for entity in result['entities']:
        first, last = (given.count(SEPARATOR, 0, entity[side]) for side in ('start', 'end'))
        start, end = starts[first], starts[last] + len(tokens[last])
        places = {'start': start, 'end': end, 'start_token': first, 'end_token': last + 1}
        entities.append({**entity, 'text': join(tokens)[start:end], **places})
    return {'text': join(tokens), 'entities': entities}


def _given_tokens(text):
    """The slices between the U+0002 of a text."""
    ends = [match.start() for match in re.finditer(SEPARATOR, text)] + [len(text)]
    starts = [0, *(end + 1 for end in ends)]
    return [(start, end) for start, end in zip(starts, ends, strict=False) if start < end]


class SequenceLabelingCodec(Codec):
    """A text to its entities: `{'text', 'entities': [{'type', 'text', 'start', 'end', 'confidence'}]}`.

    `start` and `end` count characters (code points) of the text as it was given: `text[start:end]` is the entity.
    A text longer than the model reads is labelled sentence by sentence, as most training files are. A sentence that is
    still too long is cut into windows that overlap by half: each piece takes its scores from the window that shows most
    of its context, and the labels are decided over the whole sentence.

    The text is cut into tokens as those of the training were (`token_cut`), or at each U+0002 where it has such. Of a
    record with a list of tokens (`tokens`, see `join_tokens`) `text` is a text to read, with spaces where the script
    has such, and each entity has `start_token` and `end_token` too: `tokens[start_token:end_token]`.

    `settings` also has `label_map`, `num_labels`, `chunk_scheme`, `use_crf`; `token_cut` may be missing.
    """

    columns = Columns(('text_a',), ('label',), words='tokens')
    unselectable = {'top_k': 'a model that tags gives each entity one type'}
    echo = ('text',)
    fields = {
        'text': str,
        'entities': [
            {'type': str, 'text': str, 'start': int, 'end': int, 'confidence': float}
            | {'start_token': int, 'end_token': int}
        ],
    }

    def __init__(self, config, tokenizer, settings):
        super().__init__(config, tokenizer, settings)
        label_map, self.scheme = settings['label_map'], settings['chunk_scheme']
        fault = tag_map_fault(label_map, self.scheme)
        if fault:
            raise UserError(f'label map: found {fault[0]}, expected {fault[1]}.')
        self.names = label_names(label_map, count_labels(None, label_map, 'the checkpoint', settings['num_labels']))
        self.room = settings['max_seq_len'] - 2
        self.token_cut = TokenCut.from_json(settings['token_cut']) if 'token_cut' in settings else None
        weights = settings.get('constants', {}).get(WEIGHTS)
        self.weights = None if weights is None else np.asarray(weights, np.float64)

    def constants(self, tensors):
        return {WEIGHTS: tensors[WEIGHTS].tolist()} if self.settings['use_crf'] else {}

    def encode(self, record):
        text = record.get('text_a')
        if not isinstance(text, str):
            raise BadRecord('nothing as text_a' if text is None else f'a {type(text).__name__} as text_a', 'a text')
        ids, words = self._words(text)
        parts = self._parts(text, words) if len(ids) > self.room else [(0, len(words.starts))]
        cuts = [cut for part in parts for cut in self._cuts(words, *part)]
        cls_id, sep_id = self.tokenizer.vocab['[CLS]'], self.tokenizer.vocab['[SEP]']
        rows = [[cls_id, *ids[start : start + size], sep_id] for start, size in cuts]
        return Windows(rows, [len(row) for row in rows], _Context(text, words, parts, cuts))

    @staticmethod
    def _parts(text, words):
        """The sentences that have words, as (first word, word after the last)."""
        edges = np.searchsorted(words.starts, [0, *sentence_ends(text), len(text)]).tolist()
        return [(first, end) for first, end in itertools.pairwise(edges) if first < end]

    def _cuts(self, words, first, end):
        """The windows of a part."""
        start = words.first[first] if first < end else 0
        pieces = words.last[end - 1] + 1 - start if first < end else 0
        return [(start + shift, size) for shift, size in cut_windows(pieces, self.room, max(self.room // 2, 1))]

    def _words(self, text):
        """(piece ids, `Words`) of a text."""
        ids, words, unknown = [], Words([], [], [], []), [self.tokenizer.vocab['[UNK]']]
        for start, end in self._tokens(text):
            words.starts.append(start)
            words.ends.append(end)
            words.first.append(len(ids))
            ids += self.tokenizer.encode(text[start:end]) or unknown
            words.last.append(len(ids) - 1)
        return ids, words

    def _tokens(self, text):
        """The slices of the tokens of a text."""
        if self.token_cut is None:  # a model from before the record: U+0002 counts as a space, as it did
            return slices(text.replace(SEPARATOR, ' '), AS_TOKENIZER, self.tokenizer)
        return _given_tokens(text) if SEPARATOR in text else slices(text, self.token_cut, self.tokenizer)

    def decode(self, record, windows, outputs):
        result, tokens = self._decode(windows, outputs), record.get('tokens')
        is_list = isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)
        return _readable(result) if is_list and SEPARATOR.join(tokens) == result['text'] else result

    def _decode(self, windows, outputs):
        text, words, parts, cuts = windows.context
        if not words.starts:
            return {'text': text, 'entities': []}
        starts = np.array([start for start, _ in cuts])
        best = best_windows(cuts, words.last[-1] + 1)
        scores = np.stack([outputs[w][0][1 + i - starts[w]] for i, w in enumerate(best)])  # after [CLS]
        return {'text': text, 'entities': [e for part in parts for e in self._entities(text, words, scores, *part)]}

    def _entities(self, text, words, scores, first, end):
        """The entities of the words `first` to `end - 1`. scores: [pieces of the text, L]."""
        start = words.first[first]
        scores = scores[None, start : words.last[end - 1] + 1]
        lengths = np.array([scores.shape[1]])
        ids = best_labels(scores, lengths, self.weights)
        first_pieces, last_pieces = (np.array(of[first:end]) - start for of in (words.first, words.last))
        sure = label_probabilities(scores, lengths, ids, self.weights)[0][first_pieces]
        labels = token_labels(ids[0], first_pieces, last_pieces, self.names, self.scheme)
        for kind, begin, stop in chunks(labels, self.scheme):
            place = slice(words.starts[first + begin], words.ends[first + stop - 1])
            yield {
                'type': kind,
                'text': text[place],
                'start': place.start,
                'end': place.stop,
                'confidence': float(f'{sure[begin:stop].mean():.8g}'),
            }

    def select(self, result, selection):
        """Entities with less than `min_confidence` are left out."""
        if selection.min_confidence is None:
            return result
        return result | {'entities': [e for e in result['entities'] if e['confidence'] >= selection.min_confidence]}

    def answers(self, result, selection=EVERYTHING):
        return [(f'{e["type"]} {e["text"]}', e['confidence']) for e in result['entities']]

    def remarks(self):
        unsaid = 'the model does not say how its tokens were cut: text is cut as the tokenizer cuts'
        return [unsaid] if self.token_cut is None else []

    def cells(self, result):
        """One cell per entity: `TYPE:start-end:confidence:text`, TAB and line breaks in the text as `\\t`, `\\n`."""
        return [
            f'{e["type"]}:{e["start"]}-{e["end"]}:{e["confidence"]:.5f}:{escape(e["text"])}' for e in result['entities']
        ]
