#include "small_product.h"

#include <algorithm>
#include <array>
#include <utility>

#include "bfloat16.h"
#include "int8.h"
#include "support.h"

namespace ops {
namespace {

// Sums that are kept in registers: with what is being multiplied they must fit into 32 of AVX-512, 16 of others.
constexpr int kMostSums = kLanes == 16 ? 24 : 12;
constexpr int kMostVectors = 4, kMostRows = 12;

template <typename T>
using TileProduct = void (*)(int64_t k, const LeftFactor<T>& a, const T* b, int64_t b_stride, float* c,
                             int64_t c_stride, bool add);

template <typename T, int rows, int vectors>
void tile(int64_t k, const LeftFactor<T>& a, const T* b, int64_t b_stride, float* c, int64_t c_stride, bool add) {
  Lanes sums[rows][vectors];
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) sums[i][j] = add ? load(c + i * c_stride + j * kLanes) : Lanes{};
  const T* left = a.data;
  for (; k > 0; --k, left += a.step, b += b_stride) {
    decltype(load(b)) right[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) right[j] = load(b + j * kLanes);
#pragma GCC unroll 12
    for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sums[i][j] = multiply_add(left[i * a.row], right[j], sums[i][j]);
  }
#pragma GCC unroll 12
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) store(sums[i][j], c + i * c_stride + j * kLanes);
}

constexpr int most_rows(int vectors) { return std::min(kMostRows, kMostSums / vectors); }

template <typename T, int vectors, int... rows>
constexpr std::array<TileProduct<T>, kMostRows> tiles_of(std::integer_sequence<int, rows...>) {
  return {tile<T, rows + 1, vectors>...};
}

// tiles[vectors - 1][rows - 1]
template <typename T, int... vectors>
constexpr auto all_tiles(std::integer_sequence<int, vectors...>) {
  return std::array<std::array<TileProduct<T>, kMostRows>, kMostVectors>{
      tiles_of<T, vectors + 1>(std::make_integer_sequence<int, most_rows(vectors + 1)>())...};
}

}  // namespace

template <typename T>
void small_product(int64_t m, int64_t n, int64_t k, const LeftFactor<T>& a, const T* b, int64_t b_stride, float* c,
                   int64_t c_stride, bool add) {
  static constexpr auto tiles = all_tiles<T>(std::make_integer_sequence<int, kMostVectors>());
  const int64_t vectors = n / kLanes, across = ceil_div(vectors, kMostVectors);
  for (int64_t s = 0; s < across; ++s) {
    const int64_t first = vectors * s / across, wide = vectors * (s + 1) / across - first;
    const int64_t down = ceil_div(m, most_rows(static_cast<int>(wide)));
    for (int64_t t = 0; t < down; ++t) {
      const int64_t i = m * t / down, high = m * (t + 1) / down - i, j = first * kLanes;
      const LeftFactor<T> rows{a.data + i * a.row, a.row, a.step};
      tiles[wide - 1][high - 1](k, rows, b + j, b_stride, c + i * c_stride + j, c_stride, add);
    }
  }
}

template void small_product(int64_t, int64_t, int64_t, const LeftFactor<float>&, const float*, int64_t, float*, int64_t,
                            bool);
template void small_product(int64_t, int64_t, int64_t, const LeftFactor<uint32_t>&, const uint32_t*, int64_t, float*,
                            int64_t, bool);
template void small_product(int64_t, int64_t, int64_t, const LeftFactor<Quad>&, const Quad*, int64_t, float*, int64_t,
                            bool);

}  // namespace ops
