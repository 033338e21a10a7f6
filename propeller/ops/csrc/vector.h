// Pieces of loops that compilers turn into vector instructions, and the few that they do not.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace ops {

inline uint32_t bits(float x) {
  uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}

inline float from_bits(uint32_t u) {
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}

// To nearest even; NaN stays NaN.
inline uint32_t round_to_bfloat16(float x) {
  const uint32_t u = bits(x);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const uint32_t nan = (u >> 16) | 0x40u;
  return (u & 0x7fffffffu) > 0x7f800000u ? nan : rounded;
}

inline float from_bfloat16(uint16_t x) { return from_bits(static_cast<uint32_t>(x) << 16); }

// out[i] <- bfloat16(x[i])
inline void to_bfloat16(const float* x, int64_t count, uint16_t* out) {
  int64_t i = 0;
#if defined(__AVX512BF16__) && defined(__AVX512VL__)
  for (; i + 16 <= count; i += 16) {
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(x + i));
    std::memcpy(out + i, &rounded, sizeof rounded);
  }
#endif
#pragma omp simd
  for (int64_t j = i; j < count; ++j) out[j] = static_cast<uint16_t>(round_to_bfloat16(x[j]));
}

// e^x for x <= 0, relative error below 2e-7; 0 below -87.3.
inline float exp_negative(float x) {
  const float clamped = x < -87.3f ? -87.3f : x;
  const float n = __builtin_rintf(clamped * 1.44269504f);
  float r = clamped - n * 0.693359375f;  // log 2 in two parts (Cody, Waite 1980)
  r -= n * -2.12194440e-4f;
  float p = 1.0f / 720;  // Taylor: |r| <= log(2) / 2
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const float power = from_bits(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23);
  return x < -87.3f ? 0.0f : p * power;
}

// gelu(z) = z Phi(z), Phi the normal distribution function (Hendrycks, Gimpel 2016), and its slope
// Phi(z) + z phi(z). Phi(-|z|) = t poly(t) e^(-z^2 / 2) with t = 1 / (1 + 0.3 |z|), the form of Hastings 1955; the
// coefficients are a least-maximum fit for |z| <= 14 by us: relative error below 2e-7, in float32 below 5e-7.
struct Gelu {
  float value, slope;
};

inline Gelu gelu(float z) {
  const float t = 1.0f / (1.0f + 0.3f * __builtin_fabsf(z));
  const float e = exp_negative(-0.5f * z * z);
  float p = 0.0356747776f;
  p = p * t - 0.157203089f;
  p = p * t + 0.206353504f;
  p = p * t - 0.0536836285f;
  p = p * t + 0.128561611f;
  p = p * t + 0.0999134991f;
  p = p * t + 0.120753955f;
  p = p * t + 0.119629299f;
  const float tail = p * t * e;
  const float phi = z < 0 ? tail : 1.0f - tail;
  return {z * phi, phi + z * (0.39894228f * e)};
}

// 16 x 16 elements of 32 bits, transposed. Strides in elements.
inline void transpose_16x16(const uint32_t* x, int64_t x_stride, uint32_t* out, int64_t out_stride) {
#if defined(__AVX512F__)
  __m512i a[16], b[16];
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(x + i * x_stride);
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
    a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    b[i] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0x88);
    b[i + 4] = _mm512_shuffle_i32x4(a[i], a[i + 4], 0xdd);
    b[i + 8] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0x88);
    b[i + 12] = _mm512_shuffle_i32x4(a[i + 8], a[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    _mm512_storeu_si512(out + i * out_stride, _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
    _mm512_storeu_si512(out + (i + 8) * out_stride, _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd));
    _mm512_storeu_si512(out + (i + 4) * out_stride, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0x88));
    _mm512_storeu_si512(out + (i + 12) * out_stride, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0xdd));
  }
#else
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) out[j * out_stride + i] = x[i * x_stride + j];
#endif
}

}  // namespace ops
