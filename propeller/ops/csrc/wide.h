// Rows of float32 numbers, sixteen at a time. Sums run in an order that depends on the length of a row alone, not on where
// it lies in memory, as a compiler's own reductions may.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace ops {

constexpr int64_t kWide = 16;
typedef float Wide __attribute__((vector_size(kWide * sizeof(float))));

// How many lanes are in the row: all, or the first `count`, 0 < count < kWide, at its end.
struct Whole {};
struct Part {
  int64_t count;
};

inline Wide load(const float* x, Whole) {
  Wide v;
  std::memcpy(&v, x, sizeof v);
  return v;
}
inline void store(const Wide& v, float* x, Whole) { std::memcpy(x, &v, sizeof v); }
inline Wide inside(const Wide& v, Whole) { return v; }

// Wide behind the end are 0.
#if defined(__AVX512F__)
inline __mmask16 first_lanes(Part part) { return static_cast<__mmask16>((1u << part.count) - 1); }
inline Wide load(const float* x, Part part) { return (Wide)_mm512_maskz_loadu_ps(first_lanes(part), x); }
inline void store(const Wide& v, float* x, Part part) { _mm512_mask_storeu_ps(x, first_lanes(part), (__m512)v); }
inline Wide inside(const Wide& v, Part part) { return (Wide)_mm512_maskz_mov_ps(first_lanes(part), (__m512)v); }
inline float sum_of(const Wide& v) { return _mm512_reduce_add_ps((__m512)v); }
#else
inline Wide load(const float* x, Part part) {
  Wide v = {};
  std::memcpy(&v, x, part.count * sizeof(float));
  return v;
}
inline void store(const Wide& v, float* x, Part part) { std::memcpy(x, &v, part.count * sizeof(float)); }
inline Wide inside(const Wide& v, Part part) {
  Wide kept = {};
  std::memcpy(&kept, &v, part.count * sizeof(float));
  return kept;
}
inline float sum_of(const Wide& v) {
  float half[kWide];
  std::memcpy(half, &v, sizeof v);
  for (int64_t width = kWide / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) half[i] += half[i + width];
  }
  return half[0];
}
#endif

// Sums under way: as many as hide the latency of an addition.
constexpr int kSums = 4;
struct Sum {
  Wide part[kSums] = {};
  float total() const { return sum_of((part[0] + part[1]) + (part[2] + part[3])); }
};

// `work(j, lanes, k)` for all elements of a row, from j on, k being the number of the partial sum they belong to.
template <typename Work>
inline void for_wide(int64_t width, Work&& work) {
  int64_t j = 0;
  for (; j + kSums * kWide <= width; j += kSums * kWide) {
    work(j, Whole{}, 0);
    work(j + kWide, Whole{}, 1);
    work(j + 2 * kWide, Whole{}, 2);
    work(j + 3 * kWide, Whole{}, 3);
  }
  for (; j + kWide <= width; j += kWide) work(j, Whole{}, 0);
  if (j < width) work(j, Part{width - j}, 1);
}

}  // namespace ops
