// Activations of tiles of z = x W + b, and their derivatives.
#pragma once

#include <cstdint>

#include "product.h"

namespace ops {

enum class Activation { kNone, kGelu, kGeluTanh, kRelu };

// z becomes activation(z), and `slope`, of a whole matrix of so many columns in the type of the products, gets its
// derivative; null: not wanted.
void activate(const Tile& z, Activation activation, Precision precision, int64_t columns, void* slope);

// A tile, in place or to `out` of the same size, times what `activate` left in `slope`.
void times_slope(const Tile& tile, Precision precision, int64_t columns, const void* slope, const Tile& out);

}  // namespace ops
