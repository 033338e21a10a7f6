"""Writes `unicode_table.inc` from the tables of this Python, which the tokenizers of `ernie` use.

    python make_unicode_table.py unicode_table.inc

No library has the same tables for another version of Unicode: a model reads the characters that its Python knew. The
build runs this program with the Python that CMake finds (`-DPython3_EXECUTABLE=` names another one).

What Python does not show is asked of its behaviour: which letters a capital sigma looks at is seen in how `lower` turns
it into one of the two small ones.
"""

import sys
import unicodedata

CODES = 0x110000
BLOCK = 256
HANGUL = range(0xAC00, 0xD7A4)  # decomposed by arithmetic
FLAGS = (
    'kSpace',  # is_whitespace of ernie.tokenizers.text
    'kBreak',  # str.isspace
    'kDropped',  # is_dropped
    'kPunctuation',  # is_punctuation
    'kNonspacing',  # category Mn
    'kMark',  # categories M*
    'kCased',  # a capital sigma after it is a final one
    'kIgnorable',  # a capital sigma looks beyond it
    'kLowers',  # lower changes it
    'kDecomposes',  # NFD changes it; Hangul is left out
)


def flags_of(code):
    """The flags of a code point, as the set of their names."""
    char = chr(code)
    category = unicodedata.category(char)
    found = set()
    if char in ' \t\n\r' or category == 'Zs':
        found.add('kSpace')
    if char.isspace():
        found.add('kBreak')
    if char == '\ufffd' or (char not in '\t\n\r' and category.startswith('C')):
        found.add('kDropped')
    if code < 128:
        is_punctuation = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    else:
        is_punctuation = category.startswith('P')
    if is_punctuation:
        found.add('kPunctuation')
    if category.startswith('M'):
        found |= {'kMark', 'kNonspacing'} if category == 'Mn' else {'kMark'}
    if (char + 'Σ').lower().endswith('ς'):
        found.add('kCased')
    elif ('a' + char + 'Σ').lower().endswith('ς'):
        found.add('kIgnorable')
    if char.lower() != char:
        found.add('kLowers')
    if code not in HANGUL and unicodedata.normalize('NFD', char) != char:
        found.add('kDecomposes')
    return found


def records():
    """(list of the different (flags, combining class), the number in it of each code point)."""
    numbers, of_code = {}, bytearray(CODES)
    for code in range(CODES):
        key = flag_bits(flags_of(code)), unicodedata.combining(chr(code))
        of_code[code] = numbers.setdefault(key, len(numbers))
    assert len(numbers) <= 256, len(numbers)
    return list(numbers), bytes(of_code)


def flag_bits(names):
    """A set of names of `FLAGS` as a number."""
    return sum(1 << i for i, name in enumerate(FLAGS) if name in names)


def blocks(of_code):
    """(numbers of the blocks, the different blocks one after the other)."""
    numbers, order = {}, []
    for start in range(0, CODES, BLOCK):
        block = of_code[start : start + BLOCK]
        order.append(numbers.setdefault(block, len(numbers)))
    return order, b''.join(numbers)


def lowered():
    """Rows (code, first, second or 0) of what `lower` changes."""
    for code in range(CODES):
        text = chr(code).lower()
        if text != chr(code):
            assert 1 <= len(text) <= 2, code
            yield code, ord(text[0]), ord(text[1]) if len(text) > 1 else 0


def decompositions():
    """(rows (code, where its parts begin, how many there are), all parts)."""
    rows, parts = [], []
    for code in range(CODES):
        text = unicodedata.normalize('NFD', chr(code))
        if text != chr(code) and code not in HANGUL:
            assert len(text) <= 4, code
            rows.append((code, len(parts), len(text)))
            parts += map(ord, text)
    return rows, parts


def array(kind, name, values):
    """A constant array as C++."""
    lines, line = [], ''
    for value in values:
        item = f'{{{", ".join(map(str, value))}}},' if isinstance(value, tuple) else f'{value},'
        if len(line) + len(item) > 118:
            lines.append(line)
            line = ''
        line += item
    return f'constexpr {kind} {name}[] = {{\n' + '\n'.join([*lines, line]) + '\n};\n'


def table():
    """The file as a str."""
    found, of_code = records()
    order, content = blocks(of_code)
    rows, parts = decompositions()
    enum = ', '.join(f'{name} = {1 << i}' for i, name in enumerate(FLAGS))
    return ''.join(
        (
            '// Made by make_unicode_table.py.\n',
            f'constexpr char kUnicodeVersion[] = "{unicodedata.unidata_version}";\n',
            f'enum Flag : std::uint16_t {{ {enum} }};\n',
            'struct Record { std::uint16_t flags; std::uint8_t combining; };\n',
            'struct Lowered { char32_t code, first, second; };\n',
            'struct Decomposition { char32_t code; std::uint16_t begin, count; };\n',
            array('Record', 'kRecords', found),
            array('std::uint16_t', 'kBlocks', order),
            array('std::uint8_t', 'kRecordOf', content),
            array('Lowered', 'kLowered', lowered()),
            array('Decomposition', 'kDecompositions', rows),
            array('char32_t', 'kParts', parts),
        )
    )


if __name__ == '__main__':
    with open(sys.argv[1], 'w', encoding='utf-8') as file:
        file.write(table())
