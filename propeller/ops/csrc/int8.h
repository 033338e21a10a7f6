// Whole numbers of 8 bits, four in an element of 32 bits: conversions, and sums of products.
#pragma once

#include "lanes.h"

namespace ops {

struct Quad {
  uint32_t bytes;
};

typedef int32_t Wholes __attribute__((vector_size(kLanes * sizeof(int32_t))));

inline Bits load(const Quad* x) {
  Bits result;
  std::memcpy(&result, x, sizeof result);
  return result;
}

// Whole numbers of 32 bits, whose bits `x` has, as float32.
inline Lanes whole_to_float(const Lanes& x) { return __builtin_convertvector(reinterpret_cast<Wholes>(x), Lanes); }

// out[i] <- x[i], rounded to nearest even, plus `offset`, of which the lowest 8 bits count.
inline void store_bytes(const Lanes& x, int offset, uint8_t* out, Part part) {
  const Lanes shift = lanes(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
  uint32_t whole[kLanes];
  store(as_bits(x + shift) + static_cast<uint32_t>(offset), whole);
  for (int64_t i = 0; i < part.count; ++i) out[i] = static_cast<uint8_t>(whole[i]);
}

inline void store_bytes(const Lanes& x, int offset, uint8_t* out, Whole) {
#if defined(__AVX512F__)
  const __m512i whole = _mm512_cvtps_epi32(reinterpret_cast<__m512>(x));
  const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, _mm512_set1_epi32(offset)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
#else
  store_bytes(x, offset, out, Part{kLanes});
#endif
}

// The bits of `sum` are whole numbers of 32 bits: sum + the four products of bytes without sign and bytes with sign.
inline Lanes multiply_add(Quad a, const Bits& b, const Lanes& sum) {
#if defined(__AVX512VNNI__)
  return reinterpret_cast<Lanes>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum),
                                                     _mm512_set1_epi32(static_cast<int>(a.bytes)),
                                                     reinterpret_cast<__m512i>(b)));
#else
  Wholes result = reinterpret_cast<Wholes>(sum);
  for (int i = 0; i < 4; ++i) {
    const Wholes right = reinterpret_cast<Wholes>(b << (24 - 8 * i)) >> 24;
    result += right * static_cast<int32_t>(a.bytes >> 8 * i & 0xff);
  }
  return reinterpret_cast<Lanes>(result);
#endif
}

}  // namespace ops
