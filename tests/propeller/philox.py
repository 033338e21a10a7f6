"""Philox4x32-10 in plain numpy, the oracle of the dropout masks (Salmon et al. 2011; constants of Random123)."""

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)


def philox(counter, key):
    """counter: 4 integers or arrays of them below 2^32; key: 2 such integers. Returns uint32 [4, ...]."""
    c = [np.asarray(word, np.uint64) for word in counter]
    k = [int(word) for word in key]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        high = np.uint64(32)
        c = [(b >> high) ^ c[1] ^ np.uint64(k[0]), b & _LOW, (a >> high) ^ c[3] ^ np.uint64(k[1]), a & _LOW]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return np.stack(np.broadcast_arrays(*c)).astype(np.uint32)


def keep_factors(probability, seed, site, first, count):
    """What elements `first` to `first + count` are multiplied with, 0 or 1 / (1 - p): float32 [count]."""
    p = float(np.float32(probability))
    elements = np.arange(first, first + count, dtype=np.uint64)
    counters = elements // np.uint64(4)
    words = philox([counters & _LOW, counters >> np.uint64(32), site, 0], [seed % 2**32, seed // 2**32])
    bits = words[(elements % np.uint64(4)).astype(np.int64), np.arange(count)]
    return np.where(bits < round(p * 2**32), np.float32(0), np.float32(1 / (1 - p)))
