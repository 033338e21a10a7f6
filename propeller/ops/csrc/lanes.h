// Vectors as wide as the processor's, for loops in which compilers choose narrower ones or none.
#pragma once

#include <cstdint>
#include <cstring>

#include "vector.h"

namespace ops {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#else
constexpr int64_t kLanes = 8;
#endif

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef uint32_t Bits __attribute__((vector_size(kLanes * sizeof(uint32_t))));

inline Lanes load_lanes(const float* x) {
  Lanes result;
  std::memcpy(&result, x, sizeof result);
  return result;
}

inline Bits load_lanes(const uint32_t* x) {
  Bits result;
  std::memcpy(&result, x, sizeof result);
  return result;
}

inline void store_lanes(Lanes value, float* x) { std::memcpy(x, &value, sizeof value); }

inline Lanes lanes(float x) { return Lanes{} + x; }
inline Lanes as_lanes(Bits x) { return reinterpret_cast<Lanes>(x); }
inline Bits as_bits(Lanes x) { return reinterpret_cast<Bits>(x); }

// `a` where it is a NaN.
inline Lanes max(Lanes a, Lanes b) { return a < b ? b : a; }

// e^x for x <= 1, relative error below 2e-7; 0 below -87.3; NaN stays. See `exp_negative` in vector.h.
inline Lanes exp_negative(Lanes x) {
  const Lanes least = lanes(-87.3f), shift = lanes(12582912.0f);  // 1.5 * 2^23: adding it rounds to whole numbers
  const Lanes clamped = x < least ? least : x;
  const Lanes shifted = clamped * 1.44269504f + shift;
  const Lanes n = shifted - shift;
  Lanes r = clamped - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Lanes p = lanes(1.0f / 720);
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Lanes power = as_lanes((as_bits(shifted) - as_bits(shift) + 127u) << 23);
  return x < least ? Lanes{} : p * power;
}

// sum + a b; of pairs of bfloat16 numbers, the sum of both products.
inline Lanes multiply_add(float a, Lanes b, Lanes sum) { return sum + a * b; }

inline Lanes multiply_add(uint32_t a, Bits b, Lanes sum) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<Lanes>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum),
                                                  reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a))),
                                                  reinterpret_cast<__m512bh>(b)));
#else
  const Bits pair = Bits{} + a;
  sum = sum + as_lanes(pair << 16) * as_lanes(b << 16);
  return sum + as_lanes(pair & 0xffff0000u) * as_lanes(b & 0xffff0000u);
#endif
}

// out[i] <- bfloat16 of low[i] in the lower half, of high[i] in the upper. `count` is a multiple of 16.
inline void interleave(const float* low, const float* high, int64_t count, uint32_t* out) {
#if defined(__AVX512BF16__)
  for (int64_t i = 0; i < count; i += 16) {
    const __m512i a = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(low + i))));
    const __m512i b = _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(high + i))));
    _mm512_storeu_si512(out + i, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
  }
#else
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) out[i] = round_to_bfloat16(low[i]) | round_to_bfloat16(high[i]) << 16;
#endif
}

}  // namespace ops
