"""CRC-32C (Castagnoli; RFC 3720, appendix B.4) in numpy, at some 2 GB a second.

A message is a polynomial over GF(2), its checksum what is left of it modulo P. A multiple of P with few terms leaves
the same. So does each of its powers of two, whose terms lie as many times farther apart and are no more: of the 64th
power they lie on words of 64 bits. Such a multiple takes the first words of a message away by adding them (XOR) to a
few later ones, thousands of words at a time.
"""

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # of P, without its term of degree 32; the highest bit is the term of degree 0
# Exponents of two multiples of P, the highest first, found by search. Few terms, and a wide gap behind the first one.
_LONG = (5685, 1362, 426, 0)
_SHORT = (290, 136, 113, 107, 32, 0)
# These 4 bytes take a register of zeros to one of ones, where every checksum begins.
_BEGINNING = bytes.fromhex('54641f64')
_ONES = 0xFFFFFFFF
_STEP = 1 << 15  # words
_WORD = 8


def crc32c(data):
    """The checksum of bytes, an int.

    Args:
        data: bytes, or an array whose values lie one behind the other.
    """
    data, kept, piece = memoryview(data), _LONG[0], _WORD * _STEP
    data = data.cast('B') if data.nbytes else memoryview(b'')
    window = np.zeros(kept + _STEP, np.uint64)  # zeros before a message change nothing
    raw = window.view(np.uint8)
    first = len(data) % piece
    begin = np.frombuffer(_BEGINNING + bytes(data[:first]), np.uint8)
    raw[len(raw) - len(begin) :] = begin
    for at in range(first, len(data), piece):
        _fold(window, _STEP, _LONG)
        window[:kept] = window[_STEP:]
        raw[-piece:] = np.frombuffer(data[at : at + piece], np.uint8)
    if len(data) + len(_BEGINNING) > _WORD * kept:
        _fold(window, _STEP, _LONG)
    rest = window[-kept:]
    _fold(rest, kept - _SHORT[0], _SHORT)
    return _remainder(rest[-_SHORT[0] :]) ^ _ONES


def masked(crc):
    """A checksum as TensorFlow and LevelDB store it: that of data with checksums in it should not be a plain one."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ONES


def _fold(words, count, exponents):
    """Take the first `count` words of a message away. words: uint64, changed in place; only those behind count then."""
    offsets = [exponents[0] - exponent for exponent in exponents[1:]]
    step = offsets[0]
    for start in range(0, count, step):
        stop = min(start + step, count)
        block = words[start:stop]
        for offset in offsets:
            words[start + offset : stop + offset] ^= block


def _remainder(words):
    """What is left of a short message, times x^32, modulo P: an int. words: uint64."""
    bits = np.unpackbits(words.view(np.uint8), bitorder='little')
    return int(np.bitwise_xor.reduce(_powers(len(bits))[bits.view(bool)]))


@functools.cache
def _powers(count):
    """uint32 array of x^(31 + count), ..., x^33, x^32 modulo P."""
    powers, value = np.empty(count, np.uint32), _POLYNOMIAL
    for i in reversed(range(count)):
        powers[i] = value
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return powers
