"""Token-and-label files -> token ids with a label for each piece.

Three forms are understood, and the file shows which one it has:

- TSV or CSV with the columns `text_a` and `label`, tokens and labels joined by U+0002 in their cells, as in 2019;
- the same joined by spaces;
- CoNLL: a line per token, see `ernie.reader.conll`.

To be predicted, rows need no label; a cell of `text_a` without U+0002 in a file without labels is raw text.
"""

import collections
import itertools

import numpy as np

from ernie.decoding import scheme as label_scheme
from ernie.decoding.scheme import SCHEMES, first_broken, piece_labels, scheme_fault
from ernie.reader import conll, sentences
from ernie.reader.classify import LEAVE_OUT, load_label_map
from ernie.reader.confusable import alike_advice
from ernie.reader.rows import BadRow
from ernie.reader.sentences import Sentences
from ernie.reader.set_reader import SetReader
from ernie.reader.text_keys import text_key
from ernie.reader.token_labels import CUT, IGNORED, bare_beginnings
from ernie.tokenizers import token_cut
from ernie.tokenizers.token_cut import AS_TOKENIZER
from propeller.errors import UsageError, bad_input, did_you_mean, one_of
from propeller.log import get_logger

log = get_logger(__name__)

_SHOWN = 40  # characters of a token in a message


def load_tag_map(path, scheme):
    """A label map for `scheme`: dict label -> id, in any order, ids 0 .. n - 1 without a gap, each once.

    Raises:
        UserError: it is not such a file, or holds a label that the scheme does not know.
    """
    label_map = load_label_map(path)
    fault = tag_map_fault(label_map, scheme)
    if fault:
        raise bad_input(path, *fault, advice='See --chunk_scheme and --label_map_config.')
    return label_map


def tag_map_fault(label_map, scheme):
    """(found, expected) of what is wrong with a label map, or None."""
    if len(set(label_map.values())) != len(label_map):
        return 'an id that two labels share', 'an id of its own for each label'
    return scheme_fault(label_map, scheme)


class SentenceEncoder:
    """Chunks of `Sentence` -> arrays. Travels to the worker processes.

    A piece's entry in `token_labels` is its label id where it begins a token, the id plus the number of labels where it
    goes on with one, and `IGNORED` or `CUT` for the special tokens. See `label_ids` and `token_starts`.
    """

    def __init__(self, tokenizer, max_seq_len, label_map, scheme, labelled, cut):
        self.tokenizer = tokenizer
        self.max_seq_len = max_seq_len
        self.label_map = label_map
        self.scheme = scheme
        self.labelled = labelled
        self.cut = cut  # of raw text; the reader's, and part of what the cache goes by
        self.cls_id = tokenizer.vocab['[CLS]']
        self.sep_id = tokenizer.vocab['[SEP]']
        self.unk_id = tokenizer.vocab['[UNK]']

    def __call__(self, rows):
        """Sentences of a chunk -> ({name: array} as `tokenized_set.collect` takes it, list of `BadRow`)."""
        ids, labels, lengths, lines, cut, cut_labels, keys, bad = [], [], [], [], [], [], [], []
        for row in rows:
            fault = self.fault(row) if self.labelled else None
            if fault:
                bad.append(fault)
                continue
            row_ids, row_labels, others = self.encode(row)
            cut.append(len(others))
            cut_labels += others
            ids += row_ids
            labels += row_labels
            lengths.append(len(row_ids))
            lines.append(row.line)
            if self.labelled:
                keys.append(text_key(' '.join(row.tokens)))
        arrays = {
            'ids': np.array(ids, np.int32),
            'token_labels': np.array(labels, np.int32),
            'lengths': np.array(lengths, np.int64),
            'split': np.array(lengths, np.int32),
            'lines': np.array(lines, np.int64),
            'cut': np.array(cut, np.int32),
            'cut_labels': np.array(cut_labels, np.int32),
            **({'keys': np.array(keys, np.int64)} if self.labelled else {}),
        }
        return arrays, bad

    def fault(self, row):
        """The `BadRow` of what is wrong with a labelled sentence, or None."""
        tokens, labels = row.tokens, row.labels
        if len(tokens) != len(labels):
            advice = 'Tokens and labels are joined by U+0002, or by single spaces, in their cells.'
            return BadRow(
                row.line, f'{len(tokens)} tokens and {len(labels)} labels', 'one label for each token', advice
            )
        for i, label in enumerate(labels):
            if label not in self.label_map:
                known = ', '.join(itertools.islice(self.label_map, 10)) + (', ...' if len(self.label_map) > 10 else '')
                found = f'the label {label!r} of token {i + 1} ({_short(tokens[i])!r})'
                advice = alike_advice(label, self.label_map) or did_you_mean(label, self.label_map).strip() or LEAVE_OUT
                return BadRow(row.line_of(i), found, f'one of the labels that the model has: {known}', advice)
        # IO and IOB know no broken sequence: the older IOB1 begins chunks with I-, and files of 2019 do so too.
        broken = first_broken(labels, self.scheme) if self.scheme in ('IOE', 'IOBES') else None
        if broken is None:
            return None
        found = (
            f'the label {labels[broken]!r} of token {broken + 1} ({_short(tokens[broken])!r}) outside of a whole chunk'
        )
        forms = {'IOE': 'I- .. E-, or E- alone', 'IOBES': 'B- .. E- with I- between, or S- alone'}
        return BadRow(
            row.line_of(broken), found, f'chunks of the scheme {self.scheme}: {forms[self.scheme]}, of one type'
        )

    def encode(self, row):
        """`[CLS] pieces [SEP]` within `max_seq_len`: (ids, entries of `token_labels`, labels of tokens beyond).

        A token that the tokenizer drops (zero-width, white space ...) is `[UNK]`: it has a label like any other.
        """
        ids, labels, beyond = [], [], []
        room, offset, end = self.max_seq_len - 2, len(self.label_map), IGNORED
        for i, token in enumerate(row.tokens):
            pieces = self.tokenizer.encode(token) or [self.unk_id]
            if len(ids) >= room:
                end = CUT
                beyond = (
                    [self.label_map[label] for label in row.labels[i:]]
                    if self.labelled
                    else [0] * (len(row.tokens) - i)
                )
                break
            ids += pieces
            if self.labelled:
                names = piece_labels(row.labels[i], len(pieces), self.label_map)
                first, *further = (self.label_map[name] for name in names)
                labels += [first, *(label + offset for label in further)]
            else:
                labels += [0] + [offset] * (len(pieces) - 1)
        end = CUT if len(ids) > room else end
        ids, labels = ids[:room], labels[:room]
        return [self.cls_id, *ids, self.sep_id], [IGNORED, *labels, end], beyond


class SequenceLabelReader(SetReader):
    """Reads files of tokens and labels (see the module's text).

    A row becomes `[CLS] pieces [SEP]` cut to `max_seq_len`. The set's `token_labels` are as `SentenceEncoder` says, and
    its `about` has, of a file with labels, `token_cut` (`TokenCut.to_json`) and `token_cut_remark` (see `learn`).

    Args:
        tokenizer: has `vocab` and `encode`, see `ernie.tokenization`.
        max_seq_len: most tokens of a row, the special ones included; at least 3.
        label_map: dict label -> id, see `load_tag_map`.
        scheme: key of `ernie.decoding.scheme.SCHEMES`.
        labelled: whether labels are read; without, they need not be there.
        cut: `TokenCut` for raw text.
        further: see `SetReader`.

    Raises:
        UsageError: options that cannot be.
    """

    rule_modules = (label_scheme.__name__, conll.__name__, sentences.__name__, token_cut.__name__)
    known_columns = ('text_a', 'label')

    def __init__(
        self,
        tokenizer,
        max_seq_len,
        label_map,
        scheme='IOB',
        labelled=True,
        *,
        cut=AS_TOKENIZER,
        **further,
    ):
        if scheme not in SCHEMES:
            raise UsageError(f'--chunk_scheme {scheme}: expected {one_of(scheme, SCHEMES)}')
        fault = tag_map_fault(label_map, scheme)
        if fault:
            raise UsageError(f'label map: found {fault[0]}, expected {fault[1]}.')
        encoder = SentenceEncoder(tokenizer, max_seq_len, label_map, scheme, labelled, cut)
        super().__init__(encoder, **further)
        self._sentences = Sentences(labelled, label_map, self._words, self.columns, self.learnt)

    def read(self, path):
        tokenized = super().read(path)
        if cut := np.count_nonzero(np.asarray(tokenized.token_labels) == CUT):
            what = '%s: %d rows do not fit into %d tokens: %d tokens beyond are not learned, and count as labelled O'
            log.warning(what, path, cut, self.encoder.max_seq_len, tokenized.cut.sum(dtype=np.int64))
        if self.encoder.scheme == 'IOB' and self.encoder.labelled:
            self._warn_of_bare_beginnings(tokenized)
        return tokenized

    def rows(self, path, bad_rows):
        counts, left = collections.Counter(), token_cut.LEARNT_SENTENCES
        for row in self._sentences.of(path, bad_rows, self.notes(path), self._noting_columns):
            if self.encoder.labelled and left:
                counts.update(row.tokens)
                left -= 1
            yield row
        if self.encoder.labelled:
            cut, remark = token_cut.learn(counts)
            self.about |= {'token_cut': cut.to_json(), 'token_cut_remark': remark}

    def bounds(self):
        number = len(self.encoder.label_map)
        return super().bounds() | {'token_labels': (min(IGNORED, CUT), 2 * number), 'cut_labels': (0, number)}

    def size_of(self, row):
        return sum(map(len, row.tokens))

    def _words(self, text):
        """Raw text -> its tokens, cut as those of the training were."""
        return [text[start:end] for start, end in token_cut.slices(text, self.encoder.cut, self.encoder.tokenizer)]

    def _warn_of_bare_beginnings(self, rows):
        """IOB1 begins chunks with `I-`; in a file of IOB2 that is a slip. Both are read alike, but not in silence."""
        places = bare_beginnings(rows, self.encoder.label_map)
        if len(places):
            lines = ', '.join(map(str, dict.fromkeys(rows.lines[places[:5]].tolist())))
            log.warning(
                '%s: %d chunks begin with I- instead of B- (sentences at lines %s%s): read as beginnings, as in IOB1',
                rows.path,
                len(places),
                lines,
                ', ...' if len(places) > 5 else '',
            )


def _short(text):
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'
