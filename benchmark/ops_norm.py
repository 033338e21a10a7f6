"""Fused norms beside the plain ones of Paddle, and beside PyTorch: milliseconds, and how many times faster than plain.

    python -m benchmark.ops_norm [--turns 5] [--repeats 20] [--threads 2] [--torch_python VENV/bin/python]

Residual, dropout 0.1 and norm of 768 x 384 numbers (32 texts of 24 tokens) and of 4096 x 768; embeddings of 768 tokens
in tables of 30,522 words, 512 positions and 2 sentence types, 384 wide. Forward alone, and forward with all gradients.
Each form runs in a process of its own, in turns, each time the median of `--repeats` runs over several copies of the
operator; the table shows medians over the turns. That the results are right is the tests' business.
"""

import functools

from benchmark import forms
from propeller.errors import one_line_errors

# Kind, rows, width, copies in a program.
CASES = (('residual', 768, 384, 10), ('residual', 4096, 768, 4), ('embedding', 768, 384, 4))
TABLES = (30522, 512, 2)
DROPOUT, EPSILON = 0.1, 1e-5
# See `benchmark.forms.TORCH`.
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


def build(kind, rows, width, copies, backward):
    """One number that needs every result: nothing is copied in or out, nothing can be left out."""
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


def seconds(args):
    """list over `CASES` of [seconds forward, seconds forward and backward], of one copy, in this process."""
    found = []
    for case in CASES:
        found.append(forms.clock_passes(args.form, args.repeats, functools.partial(build, *case), case[-1]))
    return found


def settings(args):
    """What the program for PyTorch reads."""
    return {'cases': CASES, 'tables': TABLES, 'dropout': DROPOUT, 'epsilon': EPSILON}


def table(args, columns):
    """Lines of text, see `benchmark.forms.table_of_passes`."""
    return forms.table_of_passes([f'{kind} norm {rows} x {width}' for kind, rows, width, _ in CASES], columns, 3)


if __name__ == '__main__':
    with one_line_errors():
        forms.main('ops_norm', __doc__, seconds, TORCH, settings, table)
