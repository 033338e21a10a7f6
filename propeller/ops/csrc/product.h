// Matrix products in float32, or of bfloat16 factors with sums in float32, over tiles of the result.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "layout.h"

namespace ops {

enum class Precision { kFloat32, kBfloat16 };

// c [m, n] = a [m, k] b [k, n] + bias [n].
struct Product {
  int64_t m, n, k;
  Precision precision;
  const void* a;          // rows of float, or of bfloat16
  int64_t a_stride;       // elements from one row of `a` to the next
  const void* b;          // rows of float, or packed (see layout.h)
  int64_t b_stride;       // elements from one row of `b` to the next; of no meaning where it is packed
  const float* bias;      // null: none
  float* c;               // null: `finish` has each tile in memory of its thread
  int64_t c_stride;       // elements from one row of `c` to the next
};

// Computes `products` and calls `finish` for each tile of them on the thread that computed the tile, while it is in that
// thread's cache. Sums run in the same order whatever the number of threads. Throws std::runtime_error if oneDNN fails.
void multiply(const std::vector<Product>& products, const std::function<void(const Tile&)>& finish = nullptr);

// Tiles of a product of so many rows, from above to below.
int64_t bands_of(int64_t rows);

// Seconds of a product by itself, the same memory each time: the median of `repeats` after one that is not counted.
double product_seconds(int64_t m, int64_t n, int64_t k, Precision precision, int repeats);

// Whether this processor multiplies bfloat16 numbers.
bool has_bfloat16();

}  // namespace ops
