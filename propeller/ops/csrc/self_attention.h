// The first half of an encoder layer, y = norm(x + dropout(attention(x Wqkv + bqkv) Wo + bo)), on plain arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "attention.h"
#include "sublayer.h"

namespace ops {

struct SelfAttention {
  AttentionShape shape;
  Precision precision;
  Dropout of_weights, dropout;
  float epsilon;
  // Weights [hidden, hidden] and biases [hidden] of queries, keys and values; of the layer behind attention; of the norm.
  // Backward reads no biases.
  std::vector<const float*> projections, projection_biases;
  const float *output, *output_bias, *scale, *bias;
};

// What the backward pass needs. In the type of the products: x^T and the results of attention transposed, both
// [hidden, depth_of(tokens)]. In float32: queries, keys and values [tokens, 3 hidden]; `terms` of attention.h;
// x + dropout(...) [tokens, hidden]; of each token mean and 1 / deviation [tokens, 2].
template <typename Products, typename Numbers>
struct SelfAttentionKept {
  Products x, context;
  Numbers qkv, terms, sum, stats;
};

// x [tokens, hidden] -> y [tokens, hidden]. `kept.x`, `context` and `terms` are not kept where they are null; `sum` may be
// y.
void self_attention(const SelfAttention& layer, const float* x, const SelfAttentionKept<void*, float*>& kept, float* y);

// Gradients; of x null where it is not wanted.
struct SelfAttentionGradients {
  float* x;
  std::vector<float*> projections, projection_biases;
  float *output, *output_bias, *scale, *bias;
};

// dy [tokens, hidden] -> gradients.
void self_attention_gradients(const SelfAttention& layer, const SelfAttentionKept<const void*, const float*>& kept,
                              const float* dy, const SelfAttentionGradients& gradients);

}  // namespace ops
