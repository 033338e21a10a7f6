"""Attention, with padding and without: milliseconds, and GFLOPS of its products."""

PASSES, PRECISIONS, DIGITS = ('forward', 'forward and backward'), ('fp32', 'bf16'), 2
# Rows, columns, width, share of its columns that the shortest row fills, copies in a program.
CASES = (
    (32, 24, 384, 1.0, 10),
    (32, 24, 384, 0.5, 10),
    (32, 128, 768, 1.0, 2),
    (32, 128, 768, 0.5, 2),
    (8, 384, 384, 1.0, 2),
    (8, 384, 384, 0.5, 2),
    (8, 512, 384, 1.0, 2),
    (8, 512, 768, 1.0, 2),
)
HEADS, DROPOUT = 12, 0.1
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


def cases(args):
    return CASES


def settings(cases):
    """Lengths of the rows and what the cases do not differ in."""
    return {'lengths': [lengths_of(*case[:2], case[3]) for case in cases], 'heads': HEADS, 'dropout': DROPOUT}


def name(rows, columns, width, share, copies):
    tokens = f'{round(share * columns)}-{columns}' if share < 1 else f'{columns}'
    return f'{rows} x {tokens} tokens, {width} wide'


def work(rows, columns, width, share, copies, timed):
    """Multiplications and additions of its two products, of tokens alone, or with those of the gradients: five, since
    the scores are computed again.
    """
    return sum(4 * length * length * width for length in lengths_of(rows, columns, share)) * (1, 3.5)[timed]


def build(precision, backward, rows, columns, width, share, copies):
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
