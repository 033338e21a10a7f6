"""The architecture of a model, as `ernie_config.json` states it."""

import math
from collections.abc import Mapping

from ernie.model.encoders import ENCODERS, ERNIE, encoder_class
from propeller.errors import UserError, bad_input, quoted
from propeller.inputs import read_json_object

ACTIVATIONS = ('relu', 'gelu', 'gelu_new')
SIZES = ('vocab_size', 'hidden_size', 'num_hidden_layers', 'num_attention_heads', 'max_position_embeddings')
PROBABILITIES = ('hidden_dropout_prob', 'attention_probs_dropout_prob')
REQUIRED = (*SIZES, 'hidden_act', *PROBABILITIES, 'initializer_range')
OPTIONAL_SIZES = ('type_vocab_size', 'sent_type_vocab_size', 'task_type_vocab_size', 'intermediate_size')
SENTENCE_TYPES = ('sent_type_vocab_size', 'type_vocab_size')
OPTIONAL = (*OPTIONAL_SIZES, 'use_task_id', 'layer_norm_eps', 'num_attention_heads', 'hidden_act', *PROBABILITIES)
DEFAULT_LAYER_NORM_EPS = 1e-5
# Sizes beyond are slips of the pen: a program of so many operators or rows cannot be built.
MOST_LAYERS, MOST_ROWS = 10_000, 2**31 - 1


class ErnieConfig:
    """A checked, read-only model configuration.

    Args:
        source: path of a JSON file; or a mapping; or an object with `to_dict()`, such as propeller's `HParams`.

    Keys of the model are read as attributes (`config.hidden_size`) or items (`config['hidden_size']`); an optional one
    that is absent or null has its default. Other keys of the file are kept and may be read, but mean nothing here.

    | key | allowed | default |
    |---|---|---|
    | `vocab_size`, `hidden_size`, `num_hidden_layers`, `num_attention_heads`, `max_position_embeddings` | whole numbers from 1 to 2**31 - 1, layers to 10,000; `hidden_size` a multiple of `num_attention_heads` | required |
    | `hidden_act` | `relu`, `gelu` (the exact form, with erf), `gelu_new` (the form with tanh, as in Google's BERT) | required |
    | `hidden_dropout_prob`, `attention_probs_dropout_prob` | 0 <= p < 1 | required |
    | `initializer_range` | standard deviation, >= 0 | required |
    | `sent_type_vocab_size`, `type_vocab_size` | whole numbers; the first counts if given and not 0 | one is required |
    | `use_task_id` | true, false | false |
    | `task_type_vocab_size` | whole number from 1 | required with `use_task_id` |
    | `intermediate_size` | whole number from 1, the width inside the feed-forward layer | 4 * `hidden_size` |
    | `layer_norm_eps` | > 0 | 1e-5 |
    | `encoder` | a name of `ernie.model.encoders.ENCODERS`, whose class says what else is required | `ernie` |

    Raises:
        UserError: names the file, the key, what was found and what is allowed.
    """  # noqa: E501

    NO_FILE = 'model configuration'

    def __init__(self, source):
        self._origin = self.NO_FILE
        if isinstance(source, Mapping):
            values = dict(source)
        elif isinstance(source, ErnieConfig):
            values, self._origin = source.to_dict(), source._origin
        elif hasattr(source, 'to_dict'):
            values = dict(source.to_dict())
        else:
            self._origin = str(source)
            values = read_json_object(source, 'a model configuration: a JSON object')
        self._values = values
        self._check()

    def _check(self):
        if self.encoder not in ENCODERS:
            raise self._bad('encoder', f'one of {", ".join(ENCODERS)}')
        kind = encoder_class(self)
        for key in kind.required:
            if self._values.get(key) is None:
                raise UserError(f'{self._origin}: key {key!r} is missing. Required keys: {", ".join(kind.required)}.')
        for key in (*SIZES, *OPTIONAL_SIZES):
            if key in self:
                self._check_size(key, least=0 if key == 'sent_type_vocab_size' else 1)
        if 'num_attention_heads' in self and self.hidden_size % self.num_attention_heads:
            raise self._bad('hidden_size', f'a multiple of num_attention_heads ({self.num_attention_heads})')
        if 'hidden_act' in self and self.hidden_act not in ACTIVATIONS:
            raise self._bad('hidden_act', f'one of {", ".join(ACTIVATIONS)}')
        for key in filter(self.__contains__, PROBABILITIES):
            self._check_number(key, lambda p: 0 <= p < 1, 'a probability p with 0 <= p < 1')
        self._check_number('initializer_range', lambda s: s >= 0, 'a standard deviation >= 0')
        if self._values.get('layer_norm_eps') is not None:
            self._check_number('layer_norm_eps', lambda e: e > 0, 'a number > 0')
        one_of = kind.required_one_of
        if one_of and not any(self._values.get(key) for key in one_of):
            raise UserError(f'{self._origin}: give {" or ".join(map(repr, one_of))}: neither is there.')
        if self._values.get('use_task_id') not in (None, True, False):
            raise self._bad('use_task_id', 'true or false')
        if self.use_task_id and self._values.get('task_type_vocab_size') is None:
            raise UserError(f"{self._origin}: key 'task_type_vocab_size' is missing, use_task_id is true.")
        for found, expected in kind.faults(self):
            raise bad_input(self._origin, found, expected)

    def _check_size(self, key, least):
        value = self._values[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self._bad(key, f'a whole number >= {least}')
        most = MOST_LAYERS if key == 'num_hidden_layers' else MOST_ROWS
        if value > most:
            raise self._bad(key, f'at most {most}')

    def _check_number(self, key, allowed, text):
        value = self._values[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise self._bad(key, text)
        if not allowed(value):
            raise self._bad(key, text)

    def _bad(self, key, expected):
        return bad_input(self._origin, f'{key} = {quoted(self._values[key])}', expected)

    @property
    def origin(self):
        """The file that it is from, for messages."""
        return self._origin

    @property
    def encoder(self):
        """Name of the encoder, of `ernie.model.encoders.ENCODERS`."""
        return self._values.get('encoder') or ERNIE

    @property
    def sentence_types(self):
        """Rows of the sentence-type table."""
        return self._values.get('sent_type_vocab_size') or self._values.get('type_vocab_size') or 1

    @property
    def use_task_id(self):
        """Whether the model adds a task embedding."""
        return bool(self._values.get('use_task_id'))

    @property
    def intermediate_size(self):
        """Width inside the feed-forward layer."""
        return self.get('intermediate_size', 4 * self.hidden_size)

    @property
    def layer_norm_eps(self):
        """The number added to the variance in every layer norm."""
        return self.get('layer_norm_eps', DEFAULT_LAYER_NORM_EPS)

    @property
    def head_dim(self):
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def __getattr__(self, key):
        values = self.__dict__.get('_values', {})
        if key in values:
            return values[key]
        if key in OPTIONAL:
            return None
        raise AttributeError(f'no key {key!r} in {self.__dict__.get("_origin", "the configuration")}')

    def __getitem__(self, key):
        try:
            return getattr(self, key)
        except AttributeError as e:
            raise KeyError(str(e)) from None

    def __contains__(self, key):
        return self._values.get(key) is not None

    def __eq__(self, other):
        return isinstance(other, ErnieConfig) and self._values == other._values

    __hash__ = None

    def get(self, key, default=None):
        """The value in the file, or `default` where the key is absent or null."""
        value = self._values.get(key)
        return default if value is None else value

    def to_dict(self):
        """A copy of the keys and values as they were given."""
        return dict(self._values)

    def print_lines(self):
        """`key: value` of every given key, sorted, as the programs print them at their start."""
        return [f'{key}: {self._values[key]}' for key in sorted(self._values)]
