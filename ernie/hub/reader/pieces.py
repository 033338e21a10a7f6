"""`ClassifyReader` and `SequenceLabelReader`: texts as word pieces, for ERNIE and BERT."""

import os

import numpy as np

from ernie.hub.dataset import SEPARATOR
from ernie.hub.log import log
from ernie.hub.reader.base import BaseReader, tokenized_rows
from propeller.errors import UsageError, quoted


class ClassifyReader(BaseReader):
    """Texts or pairs of them -> word pieces as the module's folder says, for ERNIE and BERT.

    Args:
        dataset: of `hub.dataset`, or None to predict alone.
        vocab_path: of the module.
        max_seq_len: tokens at most, `[CLS]` and `[SEP]` included. That of `module.context` holds where it is smaller.
        do_lower_case: None: as the folder of the vocabulary says.
        random_seed: 2019's; the order of batches is that of the run.
        use_task_id: 2019's; whether there are `task_ids` is what the module says.
        in_tokens: whether batch sizes count tokens.
        sp_model_path, word_dict_path: of ERNIE tiny, where its folder has them not.
    """

    inputs = ('input_ids', 'position_ids', 'segment_ids', 'input_mask', 'task_ids')

    def __init__(
        self,
        *positional,
        dataset=None,
        vocab_path=None,
        max_seq_len=512,
        do_lower_case=None,
        random_seed=None,
        use_task_id=False,
        in_tokens=False,
        sp_model_path=None,
        word_dict_path=None,
    ):
        super().__init__(type(self).__name__, positional, dataset, vocab_path, in_tokens)
        from ernie.checkpoint.tokenizer_settings import folder_tokenizer

        if isinstance(max_seq_len, bool) or not isinstance(max_seq_len, int) or max_seq_len < 3:
            raise UsageError(f'{type(self).__name__}: max_seq_len: found {quoted(max_seq_len)}, expected 3 or more.')
        said = folder_tokenizer(os.path.dirname(self.vocab_path) or '.').with_files(sp_model_path, word_dict_path)
        said = said.for_characters() if self.by_characters else said
        self.tokenizer = said.make(self.vocab_path, said.with_flags(do_lower_case=do_lower_case))
        self.vocab, self.max_seq_len = self.tokenizer.vocab, max_seq_len

    by_characters = False

    def limit(self, longest):
        """Tokens of a text at most. longest: those of the network, None for any number."""
        return self.max_seq_len if longest is None else min(self.max_seq_len, longest)

    def tokenized(self, examples, longest=None):
        from ernie.reader.classify import RowEncoder

        encoder = RowEncoder(self.tokenizer, self.limit(longest), None, 'predict', 0, for_cn=False)
        found = [encoder.encode(example.text_a, example.text_b) for example in examples]
        cut = sum(1 for _, _, left_out in found if left_out)
        if cut:
            log.info('%d of %d texts are longer than %d tokens and are cut', cut, len(found), self.limit(longest))
        return tokenized_rows([ids for ids, _, _ in found], [split for _, split, _ in found])

    def arrays(self, rows, indices):
        ids, types, positions, mask = rows.set.padded(indices)
        arrays = {'input_ids': ids, 'position_ids': positions, 'segment_ids': types, 'input_mask': mask}
        return {**arrays, 'task_ids': np.zeros_like(ids)}

    def described(self):
        return {**super().described(), **self.tokenizer.settings._asdict()}


class SequenceLabelReader(ClassifyReader):
    """Texts as tokens with a label each: `text_a` and `label` have their tokens between \\x02 characters.

    A piece of a token beyond the first has no label, and what is cut off at `max_seq_len` is not labelled.
    Arguments: see `ClassifyReader`. Texts to predict are cut into characters, or at \\x02 where they have it.
    """

    by_characters = True

    @staticmethod
    def tokens(text):
        """The tokens of a text: list of str."""
        return text.split(SEPARATOR) if SEPARATOR in text else [char for char in text if not char.isspace()]

    def tokenized(self, examples, longest=None):
        vocab, room = self.vocab, self.limit(longest) - 2
        rows, self_starts = [], []
        for example in examples:
            ids, starts = [], []
            for token in self.tokens(example.text_a):
                pieces = self.tokenizer.encode(token) or [vocab['[UNK]']]
                starts += [1] + [0] * (len(pieces) - 1)
                ids += pieces
            rows.append([vocab['[CLS]'], *ids[:room], vocab['[SEP]']])
            self_starts.append([0, *starts[:room], 0])
        made = tokenized_rows(rows)
        made.starts = np.array([i for row in self_starts for i in row], np.int32)
        return made
