"""Linear layers: GFLOPS of their products."""

PASSES, PRECISIONS = ('forward', 'forward and backward'), ('fp32', 'bf16')
LAYERS = ((384, 384, None), (384, 1152, None), (384, 1536, 'gelu'), (1536, 384, None))
ROWS, COPIES = 768, 10
TORCH = """
result = []
for rows, inputs, outputs, activation, copies in args['cases']:
    x = torch.randn(rows, inputs, requires_grad=True)
    layer, dy = torch.nn.Linear(inputs, outputs), torch.randn(rows, outputs)
    def forward():
        with torch.autocast('cpu', torch.bfloat16, enabled=args['precision'] == 'bf16'):
            y = layer(x)
            return F.gelu(y) if activation else y
    def both():
        forward().backward(dy.to(torch.bfloat16) if args['precision'] == 'bf16' else dy)
        x.grad = layer.weight.grad = layer.bias.grad = None
    result.append(clock_passes(forward, both, copies))
print(json.dumps(result))
"""


def cases(args):
    """Tuples (rows, inputs, outputs, activation, copies)."""
    return [(args.rows, *layer, COPIES) for layer in LAYERS]


def settings(cases):
    return {}


def name(rows, inputs, outputs, activation, copies):
    return f'{rows} x {inputs} x {outputs}' + (f', {activation}' if activation else '')


def operations(rows, inputs, outputs, activation, copies, timed):
    """Multiplications and additions of one product, or with those of both gradients."""
    return 2 * rows * inputs * outputs * (1, 3)[timed]


def build(precision, backward, rows, inputs, outputs, activation, copies):
    from propeller import graph, ops
    from propeller.graph import np, paddle

    rng = np.random.default_rng(0)

    def tensor(name, *shape):
        return graph.parameter(name, shape, graph.values(rng.normal(size=shape) / shape[0] ** 0.5))

    x, weight = tensor('x', rows, inputs), tensor('weight', inputs, outputs)
    bias, dy = tensor('bias', outputs), tensor('dy', rows, outputs)
    found = []
    for _ in range(copies):
        y = ops.linear(x, weight, bias, activation, precision)
        found += [y, *(paddle.static.gradients([y], [x, weight, bias], [dy]) if backward else [])]
    return paddle.add_n([value.flatten()[:1] for value in found])
