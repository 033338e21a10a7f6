"""Pickles with other instructions, and files of PyTorch."""

import io
import pickle
import pickletools
import zipfile

from benchmark.acceptance.mutations import mutate_bytes
from benchmark.acceptance.outside.inputs import ARRAYS


def mutate_pickle(content, rng):
    """Instructions removed, doubled, moved, or put in between."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    starts = [at for _, _, at in pickletools.genops(content)] + [len(content)]
    steps = [content[a:b] for a, b in zip(starts, starts[1:], strict=False)]
    for _ in range(rng.choice((1, 2, 5))):
        at, other = (rng.randrange(1, len(steps)) for _ in range(2))
        kind = rng.randrange(5)
        if kind == 0:
            del steps[at]
        elif kind == 1:
            steps[at:at] = steps[other : other + rng.choice((1, 5, 30))] * rng.choice((1, 1, 200))
        elif kind == 2:
            steps[at], steps[other] = steps[other], steps[at]
        elif kind == 3:
            steps.insert(at, rng.choice(_INSTRUCTIONS))
        else:
            steps[at] = mutate_bytes(steps[at], rng)
        if len(steps) < 2:
            break
    return b''.join(steps)


_INSTRUCTIONS = [
    *(b'(', b't', b'l', b'd', b'}', b']', b')', b'0', b'1', b'2', b's', b'u', b'a', b'e', b'R', b'b', b'N', b'\x88'),
    *(
        b'h\x00',
        b'h\x01',
        b'q\x05',
        b'\x94',
        b'\x85',
        b'\x86',
        b'\x93',
        b'Q',
        b'\x8f',
        b'\x90',
        b'\x91',
        b'K\x07',
        b'cos\nsystem\n',
    ),
    *(
        b'\x8b\x00\x10\x00\x00' + b'\x7f' * 4096,
        b'G\x7f\xf0' + b'\x00' * 6,
        b'X\x03\x00\x00\x00\xed\xa0\x80',
        b'cbuiltins\nset\n',
    ),
]


def torch_bytes(pickled):
    """A file as `torch.save` writes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        z.writestr('archive/data.pkl', pickled)
        z.writestr('archive/byteorder', 'little')
        z.writestr('archive/data/0', ARRAYS['word_embedding'].tobytes())
        z.writestr('archive/version', '3\n')
    return out.getvalue()


def _torch_pickle():
    op = lambda value: pickle.dumps(value, protocol=2)[2:-1]  # noqa: E731
    storage = b'(' + op('storage') + b'ctorch\nFloatStorage\n' + op('0') + op('cpu') + op(48) + b'tQ'
    arguments = storage + op(0) + op((12, 4)) + op((4, 1)) + op(False) + b'ccollections\nOrderedDict\n)R'
    tensor = b'ctorch._utils\n_rebuild_tensor_v2\n(' + arguments + b'tR'
    return b'\x80\x02ccollections\nOrderedDict\n)R(' + op('word_embedding') + tensor + op('epoch') + op(3) + b'u.'


TORCH_PICKLE = _torch_pickle()


def mutate_torch(content, rng):
    return torch_bytes(mutate_pickle(TORCH_PICKLE, rng)) if rng.random() < 0.6 else mutate_bytes(content, rng)
