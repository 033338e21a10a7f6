"""Fused attention beside the plain one of Paddle, and beside PyTorch: milliseconds, and how much faster than plain.

    python -m benchmark.ops_attention [--turns 5] [--repeats 20] [--threads 2] [--torch_python VENV/bin/python]

From queries, keys and values to the result, dropout 0.1 on the weights: 32 rows of 24 tokens, 384 wide; 32 of 128, 768
wide; 8 of 384, 384 wide; 12 heads each. First with rows that are all that long, then with rows of half to all of it,
where the plain forms compute padding. Forward alone, and forward with the gradient. Each form runs in a process of
its own, in turns, each time the median of `--repeats` runs over several copies; the table shows medians over the
turns. That the results are right is the tests' business.
"""

import functools

from benchmark import forms
from propeller.errors import one_line_errors

# Rows, columns, width, share of its columns that the shortest row fills, copies in a program.
CASES = (
    (32, 24, 384, 1.0, 10),
    (32, 24, 384, 0.5, 10),
    (32, 128, 768, 1.0, 2),
    (32, 128, 768, 0.5, 2),
    (8, 384, 384, 1.0, 2),
    (8, 384, 384, 0.5, 2),
)
HEADS, DROPOUT = 12, 0.1
# See `benchmark.forms.TORCH`.
TORCH = """
result = []
for (rows, columns, width, _, copies), lengths in zip(args['cases'], args['lengths']):
    x = torch.randn(rows, columns, 3 * width, requires_grad=True)
    dy = torch.randn(rows, columns, width)
    mask = (torch.arange(columns)[None] < torch.tensor(lengths)[:, None])[:, None, None]
    def forward():
        with torch.autocast('cpu', torch.bfloat16, enabled=args['precision'] == 'bf16'):
            q, k, v = x.reshape(rows, columns, 3, args['heads'], -1).permute(2, 0, 3, 1, 4)
            if args['precision'] == 'bf16':
                q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=args['dropout'])
            return y.transpose(1, 2).reshape(rows, columns, width)
    def both():
        y = forward()
        y.backward(dy.to(y.dtype))
        x.grad = None
    result.append(clock_passes(forward, both, copies))
print(json.dumps(result))
"""


def lengths_of(rows, columns, share):
    """list of int: tokens of each row, evenly from `share * columns` to `columns`."""
    return [round(columns * (share + (1 - share) * row / max(rows - 1, 1))) for row in range(rows)]


def build(rows, columns, width, share, copies, precision, backward):
    """One number that needs every result: nothing is copied in or out, nothing can be left out."""
    from propeller import graph, ops
    from propeller.graph import np, paddle
    from propeller.ops.tokens import Packed

    rng = np.random.default_rng(0)

    def tensor(name, *shape):
        return graph.parameter(name, shape, graph.values(rng.normal(size=shape)))

    lengths = np.array(lengths_of(rows, columns, share))
    mask = np.arange(columns) < lengths[:, None]
    layout = ops.token_layout(graph.parameter('mask', mask.shape, graph.values(mask)))
    sizes = [int(lengths.sum())] if isinstance(layout, Packed) else [rows, columns]
    qkv, dy, found = tensor('qkv', *sizes, 3 * width), tensor('dy', *sizes, width), []
    for _ in range(copies):
        y = ops.attention(qkv, layout, HEADS, DROPOUT, precision=precision)
        gradients = paddle.static.gradients([y], [qkv], [dy]) if backward else []
        found += [value.flatten()[:1] for value in (y, *gradients)]
    return paddle.add_n(found)


def seconds(args):
    """list over `CASES` of [seconds forward, seconds forward and backward], of one copy, in this process."""
    found = []
    for case in CASES:
        program = functools.partial(build, *case, args.precision)
        found.append(forms.clock_passes(args.form, args.repeats, program, case[-1]))
    return found


def settings(args):
    """What the program for PyTorch reads."""
    lengths = [lengths_of(*case[:2], case[3]) for case in CASES]
    return {'cases': CASES, 'lengths': lengths, 'heads': HEADS, 'dropout': DROPOUT}


def table(args, columns):
    """Lines of text, see `benchmark.forms.table_of_passes`."""
    names = []
    for rows, length, width, share, _ in CASES:
        tokens = f'{round(share * length)}-{length}' if share < 1 else f'{length}'
        names.append(f'{rows} x {tokens} tokens, {width} wide')
    return forms.table_of_passes(names, columns, 2)


if __name__ == '__main__':
    with one_line_errors():
        forms.main('ops_attention', __doc__, seconds, TORCH, settings, table, precisions=True)
