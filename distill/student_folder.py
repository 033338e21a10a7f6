"""The best student as a checkpoint, and as a model folder that predicts, exports and serves like any other."""

import os

import numpy as np

from distill.command_line import adds_special
from ernie.checkpoint.model_folder import VOCABULARY, companion_files
from ernie.tasks.classification import SPEC
from ernie.tokenizers.vocabulary import SPECIAL_TOKENS, as_lines
from ernie.tokenizers.words import WordTokenizer, lexer_beside
from propeller.log import get_logger
from propeller.storage import write_safetensors
from propeller.storage.folders import whole_folder
from propeller.storage.values import read_finite
from propeller.train.checkpoint import MODEL
from propeller.train.exporter import BestExporter

log = get_logger(__name__)

FOLDER = 'ernie_model'  # beside the checkpoint
_WORDS, _HEAD = 'word_embedding', ('pooler_fc.w_0', 'pooler_fc.b_0')


class StudentExporter(BestExporter):
    """Keeps the best student by its accuracy on the dev set in `export_dir`. setup: `example.command_line.Setup`."""

    def __init__(self, export_dir, setup):
        super().__init__(export_dir, lambda old, new: new['eval']['acc'] > old['eval']['acc'])
        self.lexer = lexer_beside(setup.args.vocab_file)
        self.setup, self.vocab = setup, with_special_tokens(setup.vocab, setup.params.ernie.vocab_size)
        if self.vocab is None:
            log.warning(
                '%s has no %s, and vocab_size leaves no room for them: %s is not written, which ernie predict reads',
                *(setup.args.vocab_file, ', '.join(SPECIAL_TOKENS), os.path.join(export_dir, FOLDER)),
            )

    def write(self, session, program, gstep):
        super().write(session, program, gstep)
        if self.vocab is None:
            return
        with whole_folder(os.path.join(self.export_dir, FOLDER), replace=True) as folder:
            parameters = read_finite(session, program.parameters(), self.export_dir)
            write_safetensors(os.path.join(folder, MODEL), self._renamed(parameters))
            vocabulary = os.path.join(folder, VOCABULARY)
            with open(vocabulary, 'wb') as f:
                f.write(as_lines(self.vocab))
            tokenizer = WordTokenizer(vocabulary, lexer=self.lexer)
            for name, content in companion_files(self.setup.params.ernie, tokenizer, self._labels()).items():
                with open(os.path.join(folder, name), 'wb') as f:
                    f.write(content)

    def _renamed(self, parameters):
        """The parameters as the fine-tuning programs call them.

        The programs set [CLS] and [SEP] around a text. A bag of words learnt without them: a vector of zeros adds
        nothing to its sum.
        """
        names = dict(zip(_HEAD, SPEC.head, strict=True))
        parameters = {names.get(name, name): value for name, value in parameters.items()}
        if not adds_special(self.setup.params.ernie):
            words = np.array(parameters[_WORDS])
            words[[self.vocab['[CLS]'], self.vocab['[SEP]']]] = 0
            parameters[_WORDS] = words
        return parameters

    def _labels(self):
        params, longest = self.setup.params, self.setup.args.max_seqlen
        return {
            'task': SPEC.name,
            'kind': 'classify',
            'num_labels': params.num_label,
            'labels': [str(label) for label in range(params.num_label)],
            'label_map': None,
            'columns': ['text_a'],
            'for_cn': False,
            'max_seq_len': longest if adds_special(params.ernie) else longest + 2,
            'tokenizer': WordTokenizer.__name__,
            'do_lower_case': True,
            'task_id': 0,
        }


def with_special_tokens(vocab, size):
    """A vocabulary with all `SPECIAL_TOKENS`, those that were missing at its end; None where they have no room."""
    missing = [token for token in SPECIAL_TOKENS if token not in vocab]
    first = max(vocab.values()) + 1
    if first + len(missing) > size:
        return None
    return {**vocab, **{token: first + i for i, token in enumerate(missing)}}
