"""The update of the parameters, and the masked-LM head with its loss: milliseconds."""

PASSES, PRECISIONS, DIGITS = ('',), (None,), 1
# Kind and sizes: layers, width, words; rows, width (0: scores alone), classes; copies.
CASES = (
    ('update', 12, 768, 30522, 1),
    ('update', 6, 384, 30522, 1),
    ('loss', 307, 0, 18000, 1),
    ('loss', 307, 256, 18000, 1),
    ('loss bf16', 307, 256, 18000, 1),
)
POSITIONS = 512
TORCH = """
result = []
for (kind, *sizes, copies), shapes in zip(args['cases'], args['shapes']):
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
    result.append([clock(step, copies)])
    del values
print(json.dumps(result))
"""


def cases(args):
    return CASES


def shapes(kind, *sizes):
    """Shapes of the tensors of a case, a list of lists."""
    if kind == 'update':
        layers, width, words = sizes
        layer = [[width, 3 * width], [3 * width], [width, width], [width], [width, 4 * width], [4 * width]]
        layer += [[4 * width, width], *[[width]] * 5]
        return [[words, width], [POSITIONS, width], *(layer * layers)]
    rows, width, classes = sizes
    return [[rows, width], [classes, width], [classes]] if width else [[rows, classes]]


def settings(cases):
    """Shapes of the tensors of each case."""
    return {'shapes': [shapes(*case[:-1]) for case in cases]}


def name(kind, *sizes_and_copies):
    return f'{kind} {" x ".join(str(size) for size in sizes_and_copies[:-1] if size)}'


def build(precision, backward, kind, *sizes_and_copies):
    *sizes, _ = sizes_and_copies
    from propeller import graph, ops
    from propeller.graph import np, paddle
    from propeller.rate_schedule import Schedule

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
