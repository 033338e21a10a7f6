"""Fused operators beside the plain ones of Paddle, and beside PyTorch: GFLOPS of linear layers.

    python -m benchmark.ops [--rows 768] [--turns 5] [--repeats 20] [--threads 2] [--torch_python VENV/bin/python]

The layers of an encoder 384 wide: rows x 384 x {384, 1152, 1536} and rows x 1536 x 384, with bias, the widest with
gelu; 768 rows are 32 texts of 24 tokens. Forward alone, and forward with the gradients of input, weight and bias
(three products). Each form runs in a process of its own, in turns, each time the median of `--repeats` runs over ten
copies of the layer; the table shows medians over the turns. That the results are right is the tests' business.
"""

import functools
import statistics

from benchmark import forms
from propeller.errors import one_line_errors

LAYERS = ((384, 384, None), (384, 1152, None), (384, 1536, 'gelu'), (1536, 384, None))
COPIES = 10
# See `benchmark.forms.TORCH`.
TORCH = """
result = []
for inputs, outputs, activation in args['layers']:
    x = torch.randn(args['rows'], inputs, requires_grad=True)
    layer, dy = torch.nn.Linear(inputs, outputs), torch.randn(args['rows'], outputs)
    def forward():
        with torch.autocast('cpu', torch.bfloat16, enabled=args['precision'] == 'bf16'):
            y = layer(x)
            return F.gelu(y) if activation else y
    def both():
        forward().backward(dy.to(torch.bfloat16) if args['precision'] == 'bf16' else dy)
        x.grad = layer.weight.grad = layer.bias.grad = None
    result.append(clock_passes(forward, both, args['copies']))
print(json.dumps(result))
"""


def build(rows, inputs, outputs, activation, precision, backward):
    """One number that needs every result: nothing is copied in or out, nothing can be left out."""
    from propeller import graph, ops
    from propeller.graph import np, paddle

    rng = np.random.default_rng(0)

    def tensor(name, *shape):
        return graph.parameter(name, shape, graph.values(rng.normal(size=shape) / shape[0] ** 0.5))

    x, weight = tensor('x', rows, inputs), tensor('weight', inputs, outputs)
    bias, dy = tensor('bias', outputs), tensor('dy', rows, outputs)
    found = []
    for _ in range(COPIES):
        y = ops.linear(x, weight, bias, activation, precision)
        found += [y, *(paddle.static.gradients([y], [x, weight, bias], [dy]) if backward else [])]
    return paddle.add_n([value.flatten()[:1] for value in found])


def seconds(args):
    """list over `LAYERS` of [seconds forward, seconds forward and backward], of one copy, in this process."""
    found = []
    for layer in LAYERS:
        program = functools.partial(build, args.rows, *layer, args.precision)
        found.append(forms.clock_passes(args.form, args.repeats, program, COPIES))
    return found


def settings(args):
    """What the program for PyTorch reads."""
    return {'rows': args.rows, 'layers': LAYERS, 'copies': COPIES}


def table(args, columns):
    """Lines of text: GFLOPS of each layer in each column.

    Args:
        args: with `rows` of the products.
        columns: dict name -> list over turns of what `seconds` returned.
    """
    yield f'{"GFLOPS":<34}' + ''.join(f'{name:>12}' for name in columns)
    for i, (inputs, outputs, activation) in enumerate(LAYERS):
        for j, name in enumerate(forms.PASSES):
            work = 2e-9 * args.rows * inputs * outputs * (1, 3)[j]
            cells = [work / statistics.median(turn[i][j] for turn in turns) for turns in columns.values()]
            layer = f'{args.rows} x {inputs} x {outputs}' + (f', {activation}' if activation else '')
            yield f'{layer if j == 0 else "  " + name:<34}' + ''.join(f'{cell:>12.0f}' for cell in cells)


FLAGS = [('rows', 768, 'rows of each product')]

if __name__ == '__main__':
    with one_line_errors():
        forms.main('ops', __doc__, seconds, TORCH, settings, table, precisions=True, flags=FLAGS)
