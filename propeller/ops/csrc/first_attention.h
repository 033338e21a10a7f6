// Self-attention of one token of each row, the first, from what the projections read, forward and backward, on plain arrays.
#pragma once

#include <cstdint>

#include "philox.h"
#include "support.h"

namespace ops {

constexpr int64_t kSmallColumns = 16;  // products within a row have a multiple of so many columns

// Row b of the batch has the tokens [starts[b], starts[b + 1]); starts[0] is 0, starts[rows] is `tokens`. firsts[b] is the
// token that asks, starts[b]; or -1: nobody asks, and the row gives zeros.
struct FirstAttentionShape {
  int64_t tokens, hidden, heads, rows;
  const int64_t *starts, *firsts;

  int64_t width() const { return hidden / heads; }
  // Sizes rounded up to whole vectors: of a token, and of a number for each head.
  int64_t wide() const { return round_up(hidden, kSmallColumns); }
  int64_t lanes() const { return round_up(heads, kSmallColumns); }
};

// Weights [hidden, hidden] and biases [hidden] of the projections. That of the keys has none here: it adds the same to all
// scores of a query, which softmax does not see.
struct FirstAttentionWeights {
  const float *query, *key, *value, *query_bias, *value_bias;
};

// What the backward pass needs. T is float, or const float.
template <typename T>
struct FirstAttentionTerms {
  T* queries;   // [rows, hidden], times D^-0.5
  T* probes;    // [heads, rows, wide]: what a token is multiplied with for its score
  T* contexts;  // [heads, rows, wide]: sums of the tokens by their weights, dropout included
  T* weights;   // [tokens, lanes]: of the softmax
};

// With x [tokens, hidden] -> y [rows, hidden]: what `attention_forward` gives for these tokens of x Wq + bq, x Wk + bk and
// x Wv + bv, with the same dropout, but for rounding. No token is projected: a query's score of token x is (x Wk) q =
// x (Wk q), and the sum of values is (sum of p x) Wv + (sum of p) bv. Everything is in float32.
void first_attention_forward(const FirstAttentionShape& shape, const Dropout& dropout, const float* x,
                             const FirstAttentionWeights& weights, const FirstAttentionTerms<float>& terms, float* y);

// Gradients, of which x and the three weights may be null: not wanted. That of the keys' bias is 0.
struct FirstAttentionGradients {
  float *x, *query, *key, *value, *query_bias, *key_bias, *value_bias;
};

// dy [rows, hidden] -> gradients.
void first_attention_backward(const FirstAttentionShape& shape, const Dropout& dropout, const float* x,
                              const FirstAttentionWeights& weights, const FirstAttentionTerms<const float>& terms,
                              const float* dy, const FirstAttentionGradients& gradients);

}  // namespace ops
