// Products of matrices so small that they stay in a core's cache, of any shape, by the calling thread.
#pragma once

#include <cstdint>

namespace ops {

// One factor of a small product: element (i, k) at data[i * row + k * step]. `T` is float, uint32_t for pairs of
// bfloat16 numbers that follow each other along k (the first in the lower half), or Quad (int8.h) for four whole numbers:
// the bits of `c` are whole numbers then, too.
template <typename T>
struct LeftFactor {
  const T* data;
  int64_t row, step;
};

// c [m, n] = a b, or c + a b; n is a multiple of 16. b: element (k, j) at b[k * b_stride + j].
template <typename T>
void small_product(int64_t m, int64_t n, int64_t k, const LeftFactor<T>& a, const T* b, int64_t b_stride, float* c,
                   int64_t c_stride, bool add);

}  // namespace ops
