"""How sample files become batches."""

from typing import NamedTuple

from propeller.errors import UsageError

LEAST_BATCH = 100  # tokens


class ReaderSettings(NamedTuple):
    """How files become batches.

    Attributes:
        batch_size: most tokens of a padded part, at least `LEAST_BATCH`; a longer sample is a part of its own.
        max_seq_len: longer samples are left out.
        seed: from 0 on, of the order and of the masks.
        shuffle: whether the order is random; without, it is that of the list and the files.
        buffer_size: samples of a window, at least 1; windows get longer where `WINDOW_UPDATES` updates need more.
        length_window: parts of neighbours in a window that are sorted by length; 0 for none.
        generate_neg_sample: adds a negative sample for each positive one.
    """

    batch_size: int
    max_seq_len: int = 512
    seed: int = 1
    shuffle: bool = True
    buffer_size: int = 20000
    length_window: int = 50
    generate_neg_sample: bool = False

    def in_order(self):
        """The same for validation and test: as the files stand, without negative samples, the same masks each time."""
        return self._replace(shuffle=False, generate_neg_sample=False)

    def check(self):
        """Raises: UsageError: a value that cannot be."""
        if self.batch_size < LEAST_BATCH:
            raise UsageError(f'found batch_size {self.batch_size}, expected {LEAST_BATCH} or more: it counts tokens.')
        if self.max_seq_len < 3:
            raise UsageError(f'found max_seq_len {self.max_seq_len}, expected at least 3: [CLS], a token and [SEP].')
        if self.seed < 0 or self.buffer_size < 1 or self.length_window < 0:
            raise UsageError(
                f'found seed {self.seed}, buffer_size {self.buffer_size}, length_window {self.length_window}, expected '
                f'at least 0, 1 and 0.'
            )
