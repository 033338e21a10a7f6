"""Random changes of files: of their bytes, and of the values of JSON."""

import copy
import json

EXTREMES = [
    *(0, -1, 1, 2**31 - 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 10**12, 10**9, 1e308, -0.0, 0.5),
    *(
        None,
        True,
        False,
        '',
        'x',
        [],
        {},
        [[]],
        {'': {}},
        '0',
        '-1',
        '²',
        '\x00',
        '\x1b[31m',
        '\u202e',
        '../x',
        '/',
        '.',
    ),
    *('x' * 5000, '9' * 5000, [0] * 2000, {'a': 'b'}, [None], 'nan', 'Infinity', '\ud800', '好' * 300),
]
_TEXTS = [
    *(b'9' * 5000, b'-' + b'9' * 400, b'NaN', b'1e999', b'-Infinity', b'[' * 3000, b'{"a":' * 500, b'\\ud800', b'\x00'),
    *(
        b'\x1b[2J',
        b'\xff\xfe',
        b'\xef\xbb\xbf',
        b'\xed\xa0\x80',
        b'\n',
        b'\r',
        b'\t',
        b'"',
        b'\xe2\x80\xa8',
        b' ' * 3000,
    ),
    *(
        b'\n\n\n',
        b'\t\t',
        b'""',
        b',',
        b':',
        b'{}',
        b'[]',
        b'null',
        b'../',
        b'\xc2\xa0',
        b'\xe3\x80\x80',
        b'a' * 20_000,
    ),
]
_WORDS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**64 - 1]


def mutate_bytes(content, rng):
    """`content` with one to four changes.

    Args:
        content: bytes.
        rng: `random.Random`.
    """
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        size = len(content)
        at, other = (rng.randrange(size + 1) for _ in range(2))
        low, high = min(at, other), max(at, other)
        high = min(high, low + rng.choice((1, 8, 64, size)))
        kind = rng.randrange(9)
        if kind == 0 and size:
            content[min(at, size - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del content[at:]
        elif kind == 2:
            del content[low:high]
        elif kind == 3:
            content[at:at] = content[low:high]
        elif kind == 4:
            content[at:at] = rng.choice(_TEXTS)
        elif kind == 5:
            content[at:at] = content[low : low + 200] * rng.choice((2, 10, 300))
        elif kind == 6:
            word = rng.choice(_WORDS)
            width = rng.choice((1, 2, 4, 8))
            content[at : at + width] = (word & ((1 << 8 * width) - 1)).to_bytes(width, rng.choice(('little', 'big')))
        elif kind == 7:
            content[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
        else:
            content[low:high] = rng.choice(_TEXTS)
    return bytes(content)


def mutate_value(value, rng):
    """A JSON value with one to three of its parts replaced, removed, doubled, renamed or nested."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        path = _random_path(value, rng)
        if not path:
            value = rng.choice((value, [value], {'a': value}, _extreme(rng)))
            continue
        owner = value
        for key in path[:-1]:
            owner = owner[key]
        _change(owner, path[-1], rng)
    return value


def _extreme(rng):
    return copy.deepcopy(rng.choice(EXTREMES))  # it may be changed in its turn


def _random_path(value, rng):
    path = []
    while isinstance(value, dict | list) and value and rng.random() < 0.85:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        path.append(key)
        value = value[key]
    return path


def _change(owner, key, rng):
    kind, old = rng.randrange(7), owner[key]
    if kind == 0 and isinstance(owner, dict):
        del owner[key]
    elif kind == 1 and isinstance(owner, dict):
        owner[rng.choice(('x', '', 'y' * 3000, key + ' ', '\x1b'))] = owner.pop(key)
    elif kind == 2 and isinstance(old, int | float) and not isinstance(old, bool):
        owner[key] = rng.choice((old * 10**9, -old, old + 1, old / 3, str(old), 2**62))
    elif kind == 3:
        nested = old
        for _ in range(rng.choice((1, 50, 150))):
            nested = [nested]
        owner[key] = nested
    elif kind == 4 and isinstance(owner, list):
        owner[key:key] = [old] * rng.choice((1, 100))
    else:
        owner[key] = _extreme(rng)


def json_bytes(value, rng):
    """A value as JSON, sometimes with numbers that only Python's writer writes, a name twice, or changed bytes."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.9)
    kind = rng.randrange(12)
    if kind == 0:
        text = text.replace('{', '{"a": 1, "a": 2, ', 1)
    elif kind == 1:
        text = text.replace('1', '9' * 5000, 1)
    elif kind == 2:
        text = text.replace(': ', ': NaN, "b": ', 1)
    content = text.encode('utf-8', 'surrogatepass')
    return mutate_bytes(content, rng) if kind == 3 else content


def mutate_json(content, rng):
    """The bytes of a JSON file, changed: half of the time by value."""
    if rng.random() < 0.4:
        return mutate_bytes(content, rng)
    return json_bytes(mutate_value(json.loads(content), rng), rng)


def mutate_json_lines(content, rng):
    """The same for a file of a JSON value a line."""
    if rng.random() < 0.4:
        return mutate_bytes(content, rng)
    lines = content.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = mutate_json(lines[at], rng)
    return b'\n'.join(lines) + b'\n'
