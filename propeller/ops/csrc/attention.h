// Self-attention over rows of different length that lie one after the other, forward and backward, on plain arrays.
#pragma once

#include <cstdint>

#include "philox.h"
#include "product.h"

namespace ops {

// Row b of the batch has the tokens [starts[b], starts[b + 1]); starts[0] is 0, starts[rows] is `tokens`.
struct AttentionShape {
  int64_t tokens, hidden, heads, rows;
  const int64_t* starts;
  int64_t part = hidden;      // elements of qkv from queries to keys, and to values
  int64_t stride = 3 * part;  // from one token of it to the next
};

// For each row and head, D = hidden / heads wide: softmax(q k^T D^-0.5), dropout, times v (Vaswani et al. 2017, 3.2).
// qkv [tokens, 3 hidden]: queries, keys, values, each with its heads side by side -> y [tokens, hidden].
// `terms` [2, heads, tokens] is what the backward pass needs of each softmax: the highest score m, and
// 1 / sum e^(s - m).
void attention_forward(const AttentionShape& shape, Precision precision, const Dropout& dropout, const float* qkv,
                       float* y, float* terms);

// dy [tokens, hidden] -> dqkv [tokens, 3 hidden].
void attention_backward(const AttentionShape& shape, Precision precision, const Dropout& dropout, const float* qkv,
                        const float* terms, const float* dy, float* dqkv);

// Forward without dropout, of one head of one row of the batch and of its first `queries` tokens alone, by the calling
// thread. The results of a token lie `y_stride` after those of the token before.
void attention_head(const AttentionShape& shape, Precision precision, int64_t row, int64_t head, int64_t queries,
                    const float* qkv, float* y, int64_t y_stride);

// Dropout: a row of T tokens has its scores of a head in blocks of 32 queries; a block of n queries is a matrix of
// T keys x n queries, its rows rounded up to a multiple of 4. Elements are numbered through these matrices in order:
// rows of the batch, heads, blocks.
int64_t numbered_scores(int64_t tokens);      // of a head of a row
int64_t first_block_columns(int64_t tokens);  // from a key's score to the next key's in its first block

}  // namespace ops
