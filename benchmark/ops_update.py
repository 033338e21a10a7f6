"""The fused update of the parameters and the masked-LM head beside the plain ones of Paddle, and beside PyTorch.

    python -m benchmark.ops_update [--turns 5] [--repeats 20] [--threads 2] [--torch_python VENV/bin/python]

AdamW with clipping over the parameters of an encoder of 12 layers x 768 (30,522 words, 110 million numbers) and of one
of 6 x 384 (23 million); cross entropy, its gradient and the likeliest class of 307 x 18,000 scores; the whole head,
from tokens 256 wide through the word table to the loss and all gradients, in float32 and with products in bfloat16
(plain: float32). Milliseconds, and how many times faster than plain.

Each form runs in a process of its own, in turns, each time the median of `--repeats` runs; the table shows medians
over the turns. That the results are right is the tests' business.
"""

import functools

from benchmark import forms
from propeller.errors import one_line_errors

# Kind and sizes: layers, width, words; rows, width (0: scores alone), classes.
CASES = (
    ('update', 12, 768, 30522),
    ('update', 6, 384, 30522),
    ('loss', 307, 0, 18000),
    ('loss', 307, 256, 18000),
    ('loss bf16', 307, 256, 18000),
)
POSITIONS = 512
# See `benchmark.forms.TORCH`.
TORCH = """
result = []
for (kind, *sizes), shapes in zip(args['cases'], args['shapes']):
    values = [torch.randn(shape) for shape in shapes]
    for value in values:
        value.requires_grad_()
    if kind == 'update':
        optimizer = torch.optim.AdamW(values, lr=1e-3, weight_decay=0.01, fused=True)
        for value in values:
            value.grad = torch.full_like(value, 0.01)
        def step():
            torch.nn.utils.clip_grad_norm_(values, 1.0)
            optimizer.step()
    else:
        label = torch.randint(0, sizes[-1], [sizes[0]])
        def step():
            with torch.autocast('cpu', torch.bfloat16, enabled='bf16' in kind):
                logits = values[0] if len(values) == 1 else F.linear(*values)
            logits = logits.float()
            logits.argmax(-1)
            F.cross_entropy(logits, label).backward()
            for value in values:
                value.grad = None
    result.append(clock(step))
    del values
print(json.dumps(result))
"""


def shapes(kind, *sizes):
    """Shapes of the tensors of a case, a list of lists."""
    if kind == 'update':
        layers, width, words = sizes
        layer = [[width, 3 * width], [3 * width], [width, width], [width], [width, 4 * width], [4 * width]]
        layer += [[4 * width, width], *[[width]] * 5]
        return [[words, width], [POSITIONS, width], *(layer * layers)]
    rows, width, classes = sizes
    return [[rows, width], [classes, width], [classes]] if width else [[rows, classes]]


def build(kind, *sizes):
    """One number that needs every result: nothing is copied in or out, nothing can be left out."""
    from propeller import graph, ops
    from propeller.graph import np, paddle
    from propeller.update import Schedule

    def tensor(name, shape, value=None):
        initial = graph.truncated_normal(0.1) if value is None else graph.constant(value)
        return graph.parameter(name, shape, initial)

    tensors = [tensor(f'tensor_{i}', shape) for i, shape in enumerate(shapes(kind, *sizes))]
    if kind == 'update':
        gradients = [tensor(f'gradient_{i}', value.shape, 0.01) for i, value in enumerate(tensors)]
        square = ops.square_norm(gradients)
        finite = paddle.isfinite(square)
        factor = 1.0 / paddle.clip(paddle.sqrt(square), min=1.0)
        pairs = list(zip(tensors, gradients, strict=True))
        ops.adamw(pairs, Schedule(lambda step: 1e-3), 0.01, lambda name: True, paddle.logical_not(finite), factor)
        return finite.astype('float32')
    label = paddle.randint(0, sizes[-1], [sizes[0]], 'int64')
    logits = tensors[0]
    if len(tensors) > 1:
        logits = ops.linear(*tensors, precision='bf16' if 'bf16' in kind else 'fp32', transposed=True)
    losses, best = ops.softmax_cross_entropy(logits, label)
    gradients = paddle.static.gradients([losses.mean()], tensors)
    found = [losses, best.astype('float32'), *gradients]
    return paddle.add_n([value.reshape([int(np.prod(value.shape))])[:1] for value in found])


def seconds(args):
    """list over `CASES` of seconds, in this process."""
    return [forms.clock(args.form, args.repeats, functools.partial(build, *case)) for case in CASES]


def settings(args):
    """What the program for PyTorch reads."""
    return {'cases': CASES, 'shapes': [shapes(*case) for case in CASES]}


def table(args, columns):
    """Lines of text, see `benchmark.forms.table_of_times`."""
    names = [f'{kind} {" x ".join(str(size) for size in sizes if size)}' for kind, *sizes in CASES]
    times = {column: [list(case) for case in zip(*turns, strict=True)] for column, turns in columns.items()}
    return forms.table_of_times(names, times, 1)


if __name__ == '__main__':
    with one_line_errors():
        forms.main('ops_update', __doc__, seconds, TORCH, settings, table)
