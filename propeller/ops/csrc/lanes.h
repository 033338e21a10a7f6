// Vectors of float32 numbers as wide as the processor's registers, for loops in which compilers choose narrower ones or
// none, and loops over rows of numbers with them. Sums run in an order that depends on the length of a row alone, not on
// where it lies in memory, as a compiler's own reductions may.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#pragma GCC diagnostic push  // g++ 12 says of its own functions that they read what is not initialised
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace ops {

#if defined(__AVX512F__)
constexpr int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr int64_t kLanes = 8;
#else
constexpr int64_t kLanes = 4;
#endif

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
typedef uint32_t Bits __attribute__((vector_size(kLanes * sizeof(uint32_t))));

inline Lanes as_lanes(const Bits& x) { return reinterpret_cast<Lanes>(x); }
inline Bits as_bits(const Lanes& x) { return reinterpret_cast<Bits>(x); }

// The same number in all lanes.
inline Lanes lanes(float x) { return Lanes{} + x; }

// `a` where one of them is a NaN.
inline Lanes max(const Lanes& a, const Lanes& b) { return a < b ? b : a; }

// How much of a vector lies in a row: all of it, or at the row's end the first `count` lanes, 0 < count < kLanes. Lanes
// behind the end are neither read nor written; `load` sets them to `behind`. `load` and `store` copy bytes, here and in
// bfloat16.h, so that what was stored as bfloat16 numbers may be read as uint32_t, two in each.
struct Whole {};
struct Part {
  int64_t count;
};

inline Lanes load(const float* x, Whole = {}, float = 0) {
  Lanes result;
  std::memcpy(&result, x, sizeof result);
  return result;
}

inline Bits load(const uint32_t* x, Whole = {}) {
  Bits result;
  std::memcpy(&result, x, sizeof result);
  return result;
}

inline void store(const Lanes& value, float* x, Whole = {}) { std::memcpy(x, &value, sizeof value); }
inline void store(const Bits& value, uint32_t* x, Whole = {}) { std::memcpy(x, &value, sizeof value); }

#if defined(__AVX512F__)
inline __mmask16 mask_of(Part part) { return static_cast<__mmask16>((1u << part.count) - 1); }

inline Lanes load(const float* x, Part part, float behind = 0) {
  return reinterpret_cast<Lanes>(_mm512_mask_loadu_ps(_mm512_set1_ps(behind), mask_of(part), x));
}

inline void store(const Lanes& value, float* x, Part part) {
  _mm512_mask_storeu_ps(x, mask_of(part), reinterpret_cast<__m512>(value));
}

inline void store(const Bits& value, uint32_t* x, Part part) {
  _mm512_mask_storeu_epi32(x, mask_of(part), reinterpret_cast<__m512i>(value));
}

inline float sum_of(const Lanes& value) { return _mm512_reduce_add_ps(reinterpret_cast<__m512>(value)); }
#else
inline Lanes load(const float* x, Part part, float behind = 0) {
  Lanes result = lanes(behind);
  std::memcpy(&result, x, part.count * sizeof(float));
  return result;
}

inline void store(const Lanes& value, float* x, Part part) { std::memcpy(x, &value, part.count * sizeof(float)); }
inline void store(const Bits& value, uint32_t* x, Part part) { std::memcpy(x, &value, part.count * sizeof(uint32_t)); }

inline float sum_of(const Lanes& value) {
  float sums[kLanes];
  store(value, sums);
  for (int64_t width = kLanes / 2; width > 0; width /= 2)
    for (int64_t i = 0; i < width; ++i) sums[i] += sums[i + width];
  return sums[0];
}
#endif

// Partial results of a row under way: as many as hide the latency of an addition.
constexpr int kParts = 4;
struct Sum {
  Lanes part[kParts] = {};
  float total() const { return sum_of((part[0] + part[1]) + (part[2] + part[3])); }
};

// `work(j, extent, k)` for the vectors of a row of `count` numbers: the one from number j on, of which `extent` (Whole or
// Part) lies in the row, belongs to partial result k.
template <typename Work>
inline void for_lanes(int64_t count, Work&& work) {
  int64_t j = 0;
  for (; j + kParts * kLanes <= count; j += kParts * kLanes) {
    work(j, Whole{}, 0);
    work(j + kLanes, Whole{}, 1);
    work(j + 2 * kLanes, Whole{}, 2);
    work(j + 3 * kLanes, Whole{}, 3);
  }
  for (; j + kLanes <= count; j += kLanes) work(j, Whole{}, 0);
  if (j < count) work(j, Part{count - j}, 1);
}

// sum[i] += x[i]
inline void add_to(const float* x, int64_t count, float* sum) {
  for_lanes(count, [&](int64_t j, auto extent, int) {
    store(load(sum + j, extent) + load(x + j, extent), sum + j, extent);
  });
}

// out[i] <- x[i] * factor
inline void multiply_row(const float* x, float factor, int64_t count, float* out) {
  for_lanes(count, [&](int64_t j, auto extent, int) { store(load(x + j, extent) * factor, out + j, extent); });
}

// out[i] <- x[i] * factors[i]
inline void multiply_row(const float* x, const float* factors, int64_t count, float* out) {
  for_lanes(count, [&](int64_t j, auto extent, int) {
    store(load(x + j, extent) * load(factors + j, extent), out + j, extent);
  });
}

// Large arrays that are read later go to memory past the caches: their lines are not read first, and what is in a cache
// stays. `begins_line`: whether that can be done from `out` on, where rows lie `stride` bytes apart. Who has stored so calls
// `end_past_caches` before other threads read.
inline bool begins_line(const void* out, int64_t stride = 0) {
  return (reinterpret_cast<uintptr_t>(out) | static_cast<uintptr_t>(stride)) % 64 == 0;
}

#if defined(__AVX512F__)
inline void store_past_caches(const Bits& value, void* out) {
  _mm512_stream_si512(static_cast<__m512i*>(out), reinterpret_cast<__m512i>(value));
}
inline void end_past_caches() { _mm_sfence(); }
#else
inline void store_past_caches(const Bits& value, void* out) { std::memcpy(out, &value, sizeof value); }
inline void end_past_caches() {}
#endif

// `count` numbers that are read, or with `written` written, soon: for pieces of rows that lie far apart, which a processor
// does not fetch ahead by itself. They come to the second cache: rows whose distance is a multiple of 4 KB fall into a few
// places of the first. Numbers that do not exist may be named.
template <bool written = false, typename T>
inline void fetch_ahead(const T* x, int64_t count) {
  const char *const begin = reinterpret_cast<const char*>(x), *const end = reinterpret_cast<const char*>(x + count);
  for (const char* line = begin; line < end; line += 64) __builtin_prefetch(line, written, 2);
}

// 16 x 16 elements of 32 bits, transposed. Strides in elements.
template <bool past_caches = false, typename T>
void transpose_16x16(const T* x, int64_t x_stride, T* out, int64_t out_stride) {
  static_assert(sizeof(T) == sizeof(uint32_t), "elements of 32 bits");
#if defined(__AVX512F__)
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    const __m512i even = _mm512_loadu_si512(x + i * x_stride), odd = _mm512_loadu_si512(x + (i + 1) * x_stride);
    b[i] = _mm512_unpacklo_epi32(even, odd);
    b[i + 1] = _mm512_unpackhi_epi32(even, odd);
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
  const auto put = [&](int i, const __m512i& row) {
    if constexpr (past_caches) {
      store_past_caches(reinterpret_cast<Bits>(row), out + i * out_stride);
    } else {
      _mm512_storeu_si512(out + i * out_stride, row);
    }
  };
  for (int i = 0; i < 4; ++i) {
    put(i, _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
    put(i + 8, _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd));
    put(i + 4, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0x88));
    put(i + 12, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0xdd));
  }
#else
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) out[j * out_stride + i] = x[i * x_stride + j];
#endif
}

}  // namespace ops
