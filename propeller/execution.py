"""Error messages for memory that runs out."""

import contextlib

from propeller.errors import UserError

LESS_MEMORY = (
    'A smaller --batch_size with as many more --gradient_accumulation_steps trains the same with less memory; '
    'a smaller --max_seq_len, --recompute true and --precision bf16 need less too.'
)
_LESS_MEMORY_FORWARD = 'A smaller --predict_batch_size, --batch_size or --max_seq_len needs less.'


@contextlib.contextmanager
def memory_errors(training=False):
    """Around one run of a program.

    Args:
        training: whether the program trains, for the advice.
    Raises:
        UserError: memory ran out; the text names the flags that help.
    """
    try:
        yield
    except MemoryError as e:  # Paddle's ResourceExhausted too
        advice = LESS_MEMORY if training else _LESS_MEMORY_FORWARD
        raise UserError(f'memory ran out while the batch was computed. {advice}') from e
