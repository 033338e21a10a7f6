// y = activation(x W + b), forward and backward, on plain arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "activation.h"
#include "product.h"

namespace ops {

// Of one layer, or of several of one input and as many outputs each, whose results stand side by side.
struct LinearShape {
  int64_t rows, inputs, outputs;  // outputs: of all of them
  bool transposed;  // the weight, and its gradient, are [outputs, inputs] in memory: a table of words, say; of one layer
};

// x [rows, inputs], of each layer a weight [inputs, its outputs] or transposed and a bias -> y [rows, outputs]. `slope`
// [rows, outputs] is what the backward pass needs of the activation, its derivative, in the type of the products; not used
// without activation, which one layer alone may have.
void linear_forward(const LinearShape& shape, Activation activation, Precision precision, const float* x,
                    const std::vector<const float*>& weights, const std::vector<const float*>& biases, float* y,
                    void* slope);

// dy [rows, outputs] -> gradients of x, weights and biases. Null: that of x is not wanted; empty: those of the weights.
void linear_backward(const LinearShape& shape, Activation activation, Precision precision, const float* x,
                     const std::vector<const float*>& weights, const void* slope, const float* dy, float* dx,
                     const std::vector<float*>& dweights, const std::vector<float*>& dbiases);

// out [columns of a, columns of b] = a^T b, both with `rows` rows.
void transposed_product(int64_t rows, const float* a, int64_t a_columns, const float* b, int64_t b_columns,
                        Precision precision, float* out);

}  // namespace ops
