// y = activation(x W + b), forward and backward, on plain arrays.
#pragma once

#include <cstdint>

#include "product.h"

namespace ops {

enum class Activation { kNone, kGelu, kGeluTanh, kRelu };

struct LinearShape {
  int64_t rows, inputs, outputs;
  bool transposed;  // the weight, and its gradient, are [outputs, inputs] in memory: a table of words, say
};

// x [rows, inputs], weight [inputs, outputs] or transposed, bias [outputs] -> y [rows, outputs]. `slope` [rows, outputs]
// is what the backward pass needs of the activation, its derivative, in the type of the products; not used without
// activation.
void linear_forward(const LinearShape& shape, Activation activation, Precision precision, const float* x,
                    const float* weight, const float* bias, float* y, void* slope);

// dy [rows, outputs] -> gradients of x, weight and bias; a null pointer in place of one that is not wanted.
void linear_backward(const LinearShape& shape, Activation activation, Precision precision, const float* x,
                     const float* weight, const void* slope, const float* dy, float* dx, float* dweight, float* dbias);

}  // namespace ops
