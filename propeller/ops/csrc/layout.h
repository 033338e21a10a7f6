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

// Rows [row, row + rows) and columns [column, column + columns) of a matrix of float32 numbers. `row` is even.
struct Tile {
  int64_t row, rows, column, columns;
  float* data;     // number (0, 0) of the tile
  int64_t stride;  // from one row of it to the next
  int64_t band;    // number of the tiles above

  float* at(int64_t i) const { return data + i * stride; }
};

// A tile to its place in what the functions above make of its matrix; `columns`, `stride` and `depth` are of the matrix. Of
// tiles that share a block of packed columns, the left one comes first. `past_caches` is for matrices that no cache holds;
// what is transposed is read so much later that it goes there anyway.
void store_rows(const Tile& tile, int64_t columns, bool past_caches, bfloat16* out);
void store_transposed(const Tile& tile, int64_t stride, float* out);
void store_transposed(const Tile& tile, int64_t stride, uint32_t* out);
void store_packed(const Tile& tile, int64_t depth, bool past_caches, uint32_t* out);

// The same of the transpose, past the caches; `depth`: its rows. Rows of the tile and where they begin are multiples of
// 16, columns of kPackRows.
void store_packed_transposed(const Tile& tile, int64_t depth, uint32_t* out);

// The zeros behind the last of `rows` rows.
void end_transposed(int64_t rows, int64_t columns, int64_t stride, float* out);
void end_transposed(int64_t rows, int64_t columns, int64_t stride, uint32_t* out);
void end_packed(int64_t rows, int64_t columns, int64_t depth, uint32_t* out);

}  // namespace ops
