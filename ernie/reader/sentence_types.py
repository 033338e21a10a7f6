"""Whether a model has as many sentence types as its texts need, checked before its table is looked up."""

import numpy as np

from propeller.errors import UserError, bad_input

ONE_TYPE = 'single texts: the model has 1 sentence type (type_vocab_size 1), so a second text has none'


def check_sentence_types(config, rows, path):
    """Before a graph looks up what its table does not have.

    Args:
        config: `ErnieConfig`.
        rows: `TokenizedSet`.
        path: its file, for the message.

    Raises:
        UserError: the model has one sentence type, and there are pairs of texts.
    """
    if config.sentence_types > 1 or not len(rows):
        return
    pairs = np.flatnonzero(np.asarray(rows.split) < np.asarray(rows.lengths))
    if len(pairs):
        line = None if rows.lines is None else int(rows.lines[pairs[0]])
        raise bad_input(path, 'a pair of texts', ONE_TYPE, line=line)


def check_two_types(config):
    """The same for reading comprehension, whose rows are all pairs. Raises: UserError."""
    if config.sentence_types < 2:
        raise UserError(
            'the model has 1 sentence type (type_vocab_size 1), and question and context need one each. '
            'Take a model with type_vocab_size 2 or more.'
        )
