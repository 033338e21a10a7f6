// The second half of an encoder layer, y = norm(x + dropout(activation(x W1 + b1) W2 + b2)), on plain arrays.
#pragma once

#include <cstdint>

#include "activation.h"
#include "sublayer.h"

namespace ops {

struct FeedForward {
  int64_t rows, width, inner;
  Activation activation;
  Precision precision;
  Dropout dropout;
  float epsilon;
  // weight1 [width, inner], weight2 [inner, width], scale and bias of the norm [width]. Backward reads no biases.
  const float *weight1, *bias1, *weight2, *bias2, *scale, *bias;
};

// What the backward pass needs. In the type of the products: x^T [width, depth_of(rows)], the activations transposed
// [inner, depth_of(rows)], their slopes [rows, inner]. In float32: x + dropout(...) [rows, width], and of each row mean and
// 1 / deviation [rows, 2].
template <typename Products, typename Numbers>
struct FeedForwardKept {
  Products x, activations, slopes;
  Numbers sum, stats;
};

// x [rows, width] -> y [rows, width]. `kept.x`, `activations` and `slopes` are not kept where they are null; `sum` may be
// y.
void feed_forward(const FeedForward& layer, const float* x, const FeedForwardKept<void*, float*>& kept, float* y);

// Gradients; of x null where it is not wanted.
struct FeedForwardGradients {
  float *x, *weight1, *bias1, *weight2, *bias2, *scale, *bias;
};

// dy [rows, width] -> gradients.
void feed_forward_gradients(const FeedForward& layer, const FeedForwardKept<const void*, const float*>& kept,
                            const float* dy, const FeedForwardGradients& gradients);

}  // namespace ops
