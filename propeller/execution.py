"""How the executor runs the operators of a program, and what is said when memory runs out."""

import contextlib

from propeller.errors import UserError

_IN_ORDER = 'FLAGS_enable_pir_in_executor_trace_run'
LESS_MEMORY = (
    'A smaller --batch_size with as many more --gradient_accumulation_steps trains the same with less memory; '
    'a smaller --max_seq_len, --recompute true and --precision bf16 need less too.'
)
_LESS_MEMORY_FORWARD = 'A smaller --predict_batch_size, --batch_size or --max_seq_len needs less.'


@contextlib.contextmanager
def execution(in_order=False, training=False):
    """Around one run of a program.

    Args:
        in_order: run the operators one by one as they were built, not each as soon as its inputs are there.
        training: whether the program trains, for the advice.
    Raises:
        UserError: memory ran out; the text names the flags that help.
    """
    import paddle  # loaded already, quietly, by `propeller.graph`

    before = paddle.get_flags([_IN_ORDER])
    if in_order:
        paddle.set_flags({_IN_ORDER: True})
    try:
        yield
    except MemoryError as e:  # Paddle's ResourceExhausted too
        advice = LESS_MEMORY if training else _LESS_MEMORY_FORWARD
        raise UserError(f'memory ran out while the batch was computed. {advice}') from e
    finally:
        paddle.set_flags(before)
