// Tokens of a batch without its padding, one after the other: where they are, and rows of arrays by number.
#pragma once

#include <cstdint>

namespace ops {

// Number of elements of a mask that are not 0. T is float, int32_t, int64_t or bool.
template <typename T>
int64_t count_tokens(const T* mask, int64_t size);

// Where tokens are in a batch [rows, columns]. Positions in the batch are row * columns + column.
struct TokenLayout {
  int64_t* starts;  // [rows + 1], where each row's tokens begin among all; the last is their number
  int64_t* tokens;  // position of each token
  int64_t* places;  // [rows, columns], number of the token at each position; -1: padding
};

template <typename T>
void lay_out_tokens(const T* mask, int64_t rows, int64_t columns, const TokenLayout& layout);

// out[i] <- x[index[i]], each of `bytes` bytes; where the index is -1, all bytes are `none`.
void take(const void* x, int64_t bytes, const int64_t* index, int64_t count, int none, void* out);

// The gradient of `take`: dx [rows, width] <- sums of dout [count, width] by index, in order.
void take_gradient(const float* dout, int64_t width, const int64_t* index, int64_t count, int64_t rows, float* dx);

}  // namespace ops
