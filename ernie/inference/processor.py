"""What of a processor decides how fast int8 is and, with some kernels, which numbers it gives."""

# Of x86 and of ARM, as /proc/cpuinfo names them: those that int8 products are made with, then those of bf16.
INT8_FLAGS = ('avx2', 'avx512f', 'avx_vnni', 'avx512_vnni', 'amx_int8', 'asimddp', 'i8mm')
BF16_FLAGS = ('avx512_bf16', 'amx_bf16', 'bf16')
_ACCUMULATES_IN_32_BITS = ('avx_vnni', 'avx512_vnni', 'amx_int8', 'asimddp', 'i8mm')
CPUINFO = '/proc/cpuinfo'


def processor_flags(cpuinfo=CPUINFO):
    """Those of `INT8_FLAGS` and `BF16_FLAGS` that the processor has, list; None where `cpuinfo` cannot be read."""
    try:
        with open(cpuinfo, encoding='utf-8', errors='replace') as f:
            found = next((line.split() for line in f if line.startswith(('flags', 'Features'))), [])
    except OSError:
        return None
    return [flag for flag in (*INT8_FLAGS, *BF16_FLAGS) if flag in found]


def has_int8_products(flags):
    """Whether products of 8 bits are added up in 32; else two of them may not fit into the 16 bits of their sum."""
    return flags is None or not set(flags).isdisjoint(_ACCUMULATES_IN_32_BITS)


def other_processor(measured, here):
    """A sentence, if int8 was measured on another kind of processor than this one; else ''.

    Args:
        measured: dict, `name` and `flags` of the one where the model was made.
        here: list of flags, or None where they are not known.
    """
    there = measured.get('flags')
    if here is None or there is None:
        return ''
    kinds = [[flag for flag in INT8_FLAGS if flag in flags] for flags in (there, here)]
    if kinds[0] == kinds[1]:
        return ''
    shown = [', '.join(kind) or 'none of these' for kind in kinds]
    return (
        f'its score and speed in int8 were measured on a processor with {shown[0]}; this one has {shown[1]}. '
        'Export it here to know them.'
    )
