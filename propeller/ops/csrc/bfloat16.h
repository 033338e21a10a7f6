// bfloat16 numbers, alone and in pairs that fill 32 bits: conversions, and products of pairs.
#pragma once

#include "lanes.h"

namespace ops {

using bfloat16 = uint16_t;  // the upper half of a float32

// To nearest even; NaN stays NaN. Each lane has its number in the lower half, and 0 in the upper.
inline Bits round_to_bfloat16(const Lanes& x) {
#if defined(__AVX512BF16__)
  const auto rounded = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(x));
  return reinterpret_cast<Bits>(_mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(rounded)));
#else
  const Bits u = as_bits(x);
  const Bits rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const Bits nan = (u >> 16) | 0x40u;
  return (u & 0x7fffffffu) > 0x7f800000u ? nan : rounded;
#endif
}

inline Lanes load(const bfloat16* x, Part part) {
  uint32_t upper[kLanes] = {};
  for (int64_t i = 0; i < part.count; ++i) upper[i] = static_cast<uint32_t>(x[i]) << 16;
  return as_lanes(load(upper));
}

inline void store(const Lanes& value, bfloat16* x, Part part) {
  uint32_t lower[kLanes];
  store(round_to_bfloat16(value), lower);
  for (int64_t i = 0; i < part.count; ++i) {
    const auto half = static_cast<bfloat16>(lower[i]);
    std::memcpy(x + i, &half, sizeof half);
  }
}

// Of two vectors: in each lane the number of `low` in the lower half, that of `high` in the upper.
inline Bits pairs_of(const Lanes& low, const Lanes& high) {
#if defined(__AVX512BF16__) && defined(__AVX512BW__)
  const auto both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low));
  alignas(64) static constexpr uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return reinterpret_cast<Bits>(_mm512_permutexvar_epi16(_mm512_load_si512(kOrder), reinterpret_cast<__m512i>(both)));
#else
  return round_to_bfloat16(low) | round_to_bfloat16(high) << 16;
#endif
}

#if defined(__AVX512F__)
inline Lanes load(const bfloat16* x, Whole = {}) {
  const __m512i lower = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
  return reinterpret_cast<Lanes>(_mm512_slli_epi32(lower, 16));
}

inline void store(const Lanes& value, bfloat16* x, Whole = {}) {
#if defined(__AVX512BF16__)
  const auto halves = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(reinterpret_cast<__m512>(value)));
#else
  const __m256i halves = _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(round_to_bfloat16(value)));
#endif
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(x), halves);
}

#else
inline Lanes load(const bfloat16* x, Whole = {}) { return load(x, Part{kLanes}); }
inline void store(const Lanes& value, bfloat16* x, Whole = {}) { store(value, x, Part{kLanes}); }
#endif

// Two vectors that follow each other, past the caches (lanes.h).
inline void store_past_caches(const Lanes& first, const Lanes& second, bfloat16* x) {
#if defined(__AVX512BF16__)
  const auto both = _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(first));
  store_past_caches(reinterpret_cast<Bits>(both), x);
#else
  store(first, x);
  store(second, x + kLanes);
#endif
}

// Whether `count` numbers at `x` are whole lines, for the above.
inline bool whole_lines(const bfloat16* x, int64_t count) { return count % 32 == 0 && begins_line(x); }

// out[i] <- bfloat16(x[i])
inline void to_bfloat16(const float* x, int64_t count, bfloat16* out) {
  for_lanes(count, [&](int64_t j, auto extent, int) { store(load(x + j, extent), out + j, extent); });
}

// The same of two neighbours in an element, the first in the lower half.
inline void to_bfloat16(const float* x, int64_t count, uint32_t* out) {
  to_bfloat16(x, count, reinterpret_cast<bfloat16*>(out));  // which copies bytes
}

// out[i] <- bfloat16(low[i]) in the lower half, bfloat16(high[i]) in the upper.
inline void interleave(const float* low, const float* high, int64_t count, uint32_t* out) {
  for_lanes(count, [&](int64_t j, auto extent, int) {
    store(pairs_of(load(low + j, extent), load(high + j, extent)), out + j, extent);
  });
}

// sum + a b; of pairs of bfloat16 numbers, the sum of both products.
inline Lanes multiply_add(float a, const Lanes& b, const Lanes& sum) { return sum + a * b; }

inline Lanes multiply_add(uint32_t a, const Bits& b, const Lanes& sum) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<Lanes>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                                  reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a))),
                                                  reinterpret_cast<__m512bh>(b)));
#else
  const Bits pair = Bits{} + a;
  const Lanes first = sum + as_lanes(pair << 16) * as_lanes(b << 16);
  return first + as_lanes(pair & 0xffff0000u) * as_lanes(b & 0xffff0000u);
#endif
}

}  // namespace ops
