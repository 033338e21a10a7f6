// What both halves of an encoder layer, y = norm(x + dropout(z)) with z = z(x), do around z (Vaswani et al. 2017, 3.1).
#pragma once

#include <cstdint>

#include "factors.h"
#include "norm.h"

namespace ops {

struct SublayerNorm {
  NormShape shape;
  Dropout dropout;
  const float* scale;
};

// Tiles of z become those of x + dropout(z), which lie in the whole matrix.
void add_residual(const Tile& z, const SublayerNorm& norm, const float* x);

// From dy to dz, the gradient of z, and its sums over rows; to the gradients of scale and bias; and to what comes to dx
// by the residual. `sum`: x + dropout(z).
void sublayer_gradient(const SublayerNorm& norm, const float* sum, const float* stats, const float* dy, float* dresidual,
                       float* dscale, float* dbias, const LayerGradient& dz, float* dz_sums);

}  // namespace ops
