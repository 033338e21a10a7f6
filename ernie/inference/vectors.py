"""A model as a source of vectors of texts, exported for any engine: what `ModelFolder` is for fine-tuned models.

Shapes: B batch, T length, H hidden.
"""

import os

import numpy as np

from ernie.checkpoint.model_folder import companion_files
from ernie.inference.pooling import POOLINGS, layer_number, unit_length
from ernie.reader.fitting import HEAD, TRUNCATIONS
from ernie.run.exported import INFERENCE, VECTORS
from ernie.run.source import Source
from ernie.tasks.codec import TextCodec
from propeller.errors import UsageError, bad_input, one_of, quoted

NO_POOLING = 'none'  # the vectors of all tokens
OF_CLASSES = ('label_map_config', 'num_labels')  # arguments of `ModelFolder` that vectors have no use for
_READING = ('task_id', 'for_cn', 'max_seq_len')
_PERHAPS = ('truncation', 'drop_html_breaks')  # exports made before do not say them


class VectorCodec(TextCodec):
    """A text or a pair to its vector, float32 [H]."""

    def __init__(self, config, tokenizer, settings):
        super().__init__(config, tokenizer, settings)
        self.empty = np.empty((0, config.hidden_size), np.float32)

    def decode(self, record, windows, outputs):
        ((vector,),) = outputs
        return unit_length(vector[None])[0] if self.settings['normalize'] else vector

    def cells(self, result):
        return [repr(float(value)) for value in result]


class VectorFolder(Source):
    """Everything that the vectors of texts need: any model that is not exported, or one that is exported for them.

    Args:
        path: see `Source`.
        pooling: of `POOLINGS`, or `NO_POOLING`; None: that of the export, else 'pooled'.
        layer: see `ernie.inference.pooling.layer_number`; None: that of the export, else the last.
        normalize: whether vectors get length 1.
        ernie_config_path, vocab_path: files instead of those in the folder.
        sentence_piece_model, word_dict: files of ERNIE tiny's tokenizer, for a folder that has none.
        tokenizer, do_lower_case, task_id, for_cn, max_seq_len: values instead of those of the model.

    Attributes, beside those of `Source`:
        pooling, layer: as above, the layer as its number.
        settings: dict, how texts are read, for the codec.
        codec: `VectorCodec`.

    Raises:
        UserError: something is missing or broken, or it is an export of a task.
        UsageError: no such pooling or layer, or another one than in the export.
    """

    def __init__(
        self,
        path,
        pooling=None,
        layer=None,
        normalize=False,
        *,
        ernie_config_path=None,
        vocab_path=None,
        sentence_piece_model=None,
        word_dict=None,
        **given,
    ):
        subword = sentence_piece_model, word_dict
        super().__init__(path, ernie_config_path, vocab_path, subword=subword, takes_exported=True)
        given = {name: value for name, value in given.items() if value is not None}
        if self.exported and VECTORS not in self.exported:
            raise bad_input(self.path, 'an exported model of a task', 'a model for vectors, or an export of one')
        said = self._said() if self.exported else {}
        layers = self.config.num_hidden_layers
        self.pooling = self._agreed('pooling', pooling, said.get('pooling'), 'pooled')
        self.layer = self._agreed('layer', layer, said.get('layer'), None, lambda n: layer_number(n, layers))
        if self.pooling not in (*POOLINGS, NO_POOLING):
            raise UsageError(f'--pooling {quoted(self.pooling)}: expected {one_of(self.pooling, POOLINGS)}')
        if self.pooling == 'pooled' and self.layer != layers:
            raise UsageError(
                f'--layer {layer}: --pooling pooled is made of the last layer. Use --pooling cls, mean or max.'
            )
        tokenizer, reading = self._reading(given)
        self.check_lengths(reading['max_seq_len'], reading['task_id'])
        self.settings = reading | {'normalize': normalize}
        self.codec = VectorCodec(self.config, tokenizer, self.settings)

    def _said(self):
        """What the export says of its vectors, checked."""
        said, path = self.exported[VECTORS], os.path.join(self.path, INFERENCE)
        reading = said.get('reading', {})
        good = {
            'pooling': said.get('pooling') in (*POOLINGS, NO_POOLING),
            'layer': type(said.get('layer')) is int,
            'task_id': type(reading.get('task_id')) is int and reading['task_id'] >= 0,
            'for_cn': isinstance(reading.get('for_cn'), bool),
            'max_seq_len': type(reading.get('max_seq_len')) is int and reading['max_seq_len'] >= 3,
            'truncation': reading.get('truncation', HEAD) in TRUNCATIONS,
            'drop_html_breaks': isinstance(reading.get('drop_html_breaks', False), bool),
        }
        for name, holds in good.items():
            if not holds:
                raise bad_input(path, f'no good {name} in {VECTORS}', 'what an export writes there')
        return said

    def _agreed(self, name, asked, said, default, number=lambda value: value):
        if said is not None and asked is not None and number(asked) != said:
            raise UsageError(f'--{name} {asked}: {self.path} was exported with {said}. Leave it out, or export anew.')
        return number(default if asked is None and said is None else said if asked is None else asked)

    def _reading(self, given):
        """(tokenizer, settings of the codec)."""
        if self.exported:
            said = self.exported[VECTORS]['reading']
            kept = {name: said[name] for name in (*_READING, *_PERHAPS) if name in said}
            names = ('tokenizer', 'do_lower_case')
            made = self.tokenizer(*(given.pop(name, None) for name in names))
            return made, dict(zip(names, (type(made).__name__, made.do_lower_case), strict=True)) | kept | given
        from ernie.inference.embedding import reading_of  # what has been exported is read without graphs

        return reading_of(self, **given)

    def graph(self):
        """The `VectorGraph` of a model that is not exported."""
        from ernie.inference.vector_graph import VectorGraph

        return VectorGraph(self)

    def described(self):
        """dict, what `inference.json` says of the vectors."""
        reading = {name: self.settings[name] for name in (*_READING, *_PERHAPS) if name in self.settings}
        return {VECTORS: {'pooling': self.pooling, 'layer': self.layer, 'reading': reading}}

    def files(self):
        """dict file name -> bytes: vocabulary and configurations, for an exported folder."""
        return companion_files(self.config, self.codec.tokenizer, exported=True)
