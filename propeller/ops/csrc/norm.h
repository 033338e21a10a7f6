// Layer norm over rows (Ba, Kiros, Hinton 2016), with what stands before it in an encoder, on plain arrays.
#pragma once

#include <cstdint>

#include "philox.h"

namespace ops {

struct NormShape {
  int64_t rows, width;
};

// y = norm(residual + dropout(x)) * scale + bias. All but `scale` and `bias` [width]: [rows, width]; x null: without it.
// `stats` [rows, 2] is what the backward pass needs: mean, and 1 / sqrt(variance + epsilon).
void residual_norm_forward(const NormShape& shape, float epsilon, const Dropout& dropout, const float* x,
                           const float* residual, const float* scale, const float* bias, float* y, float* stats);

// dy [rows, width] -> gradients; of x and residual, null where one is not wanted.
void residual_norm_backward(const NormShape& shape, const Dropout& dropout, const float* x, const float* residual,
                            const float* scale, const float* stats, const float* dy, float* dx, float* dresidual,
                            float* dscale, float* dbias);

}  // namespace ops
