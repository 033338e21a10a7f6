// Matrices in the orders and types that products want: bfloat16, transposed, packed.
#pragma once

#include <cstdint>
#include <vector>

#include "bfloat16.h"

namespace ops {

constexpr int64_t kPackRows = 32;     // rows of a block of a packed matrix
constexpr int64_t kPackColumns = 64;  // columns of it

// Pairs in a packed matrix of `rows` x `columns`: both rounded up to whole blocks.
int64_t packed_size(int64_t rows, int64_t columns);

// out [rows, columns] <- bfloat16(x), both dense.
void to_bfloat16(const float* x, int64_t rows, int64_t columns, bfloat16* out);

// out [columns, stride] <- x^T; what is beyond `rows` is 0.
void transpose(const float* x, int64_t rows, int64_t columns, int64_t stride, float* out);

// out [columns, stride / 2] <- pairs of bfloat16(x)^T [columns, stride]; stride is even, what is beyond `rows` is 0.
void transpose_to_bfloat16(const float* x, int64_t rows, int64_t columns, int64_t stride, uint32_t* out);

// `x` [rows, columns] as the right factor of a product, in oneDNN's order BA16a64b2a: blocks of 64 columns, in them
// blocks of 32 rows, in them pairs of rows interleaved. Rows and columns that fill up a block are 0, and so are rows up to
// `depth`.
void pack(const float* x, int64_t rows, int64_t columns, int64_t depth, uint32_t* out);

// Matrices of as many rows side by side, each with `columns` columns.
struct SideBySide {
  std::vector<const float*> parts;
  int64_t columns;
};

// x^T as the right factor: the same order for a matrix of all columns of `x` x `rows`.
void pack_transposed(const SideBySide& x, int64_t rows, uint32_t* out);

}  // namespace ops
