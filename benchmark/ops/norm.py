"""Norms with what comes before them, residual and dropout or embeddings: milliseconds."""

PASSES, PRECISIONS, DIGITS = ('forward', 'forward and backward'), (None,), 3
# Kind, rows, width, copies in a program.
CASES = (('residual', 768, 384, 10), ('residual', 4096, 768, 4), ('embedding', 768, 384, 4))
TABLES = (30522, 512, 2)
DROPOUT, EPSILON = 0.1, 1e-5
TORCH = """
result = []
for kind, rows, width, copies in args['cases']:
    scale, bias = torch.ones(width, requires_grad=True), torch.zeros(width, requires_grad=True)
    dy = torch.randn(rows, width)
    if kind == 'residual':
        leaves = [torch.randn(rows, width, requires_grad=True) for _ in range(2)]
        def forward():
            x = leaves[1] + F.dropout(leaves[0], args['dropout'])
            return F.layer_norm(x, [width], scale, bias, args['epsilon'])
    else:
        leaves = [torch.randn(n, width, requires_grad=True) for n in args['tables']]
        ids = [torch.randint(0, n, [rows]) for n in args['tables']]
        def forward():
            x = sum(F.embedding(own, table) for own, table in zip(ids, leaves))
            return F.dropout(F.layer_norm(x, [width], scale, bias, args['epsilon']), args['dropout'])
    def both():
        forward().backward(dy)
        for leaf in [*leaves, scale, bias]:
            leaf.grad = None
    result.append(clock_passes(forward, both, copies))
print(json.dumps(result))
"""


def cases(args):
    return CASES


def settings(cases):
    """What the cases do not differ in."""
    return {'tables': TABLES, 'dropout': DROPOUT, 'epsilon': EPSILON}


def name(kind, rows, width, copies):
    return f'{kind} norm {rows} x {width}'


def build(precision, backward, kind, rows, width, copies):
    from propeller import graph, ops
    from propeller.graph import paddle

    def tensor(name, *shape):
        return graph.parameter(name, shape, graph.truncated_normal(1.0))

    scale, bias, dy = tensor('scale', width), tensor('bias', width), tensor('dy', rows, width)
    if kind == 'residual':
        leaves, operator = [tensor('x', rows, width), tensor('residual', rows, width)], ops.residual_norm
    else:
        leaves = [tensor(f'table{k}', n, width) for k, n in enumerate(TABLES)]
        ids = [paddle.randint(0, n, [rows], 'int64') for n in TABLES]

        def operator(*tables_and_rest):
            return ops.embedding_norm(tables_and_rest[: len(TABLES)], ids, *tables_and_rest[len(TABLES) :])

    found = []
    for _ in range(copies):
        y = operator(*leaves, scale, bias, EPSILON, DROPOUT)
        gradients = paddle.static.gradients([y], [*leaves, scale, bias], [dy]) if backward else []
        found += [value.flatten()[:1] for value in (y, *gradients)]
    return paddle.add_n(found)
