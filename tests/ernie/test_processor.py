"""Flags of the processor, and whether int8 was measured on one like this."""

from ernie.inference.processor import has_int8_products, other_processor, processor_flags


def test_processors():
    vnni, amx = ['avx2', 'avx512f', 'avx512_vnni'], ['avx2', 'avx512f', 'avx512_vnni', 'amx_int8']
    assert other_processor({'flags': vnni}, vnni) == ''
    assert other_processor({'flags': vnni}, [*vnni, 'avx512_bf16']) == ''  # int8 does not need it
    assert 'this one has avx2, avx512f, avx512_vnni, amx_int8' in other_processor({'flags': vnni}, amx)
    assert 'this one has none of these' in other_processor({'flags': vnni}, [])
    assert (
        other_processor({'flags': None}, vnni)
        == other_processor({}, vnni)
        == other_processor({'flags': vnni}, None)
        == ''
    )
    assert has_int8_products(vnni) and has_int8_products(None) and not has_int8_products(['avx2', 'avx512f'])


def test_flags_of_the_processor(tmp_path):
    info = tmp_path / 'cpuinfo'
    info.write_text('model name\t: x\nflags\t\t: fpu avx2 avx512_vnni amx_bf16 sse\n')
    assert processor_flags(info) == ['avx2', 'avx512_vnni', 'amx_bf16']
    info.write_text('Features\t: fp asimd asimddp i8mm bf16\n')
    assert processor_flags(info) == ['asimddp', 'i8mm', 'bf16']
    assert processor_flags(tmp_path / 'none') is None
