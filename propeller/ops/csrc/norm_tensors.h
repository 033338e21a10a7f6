// What the operators that end with a layer norm check of Paddle's tensors.
#pragma once

#include <string>

#include "norm.h"
#include "tensors.h"

namespace ops {

inline Shape without_last(Shape shape) {
  shape.pop_back();
  return shape;
}

inline Shape stats_shape(Shape shape) {
  shape.back() = 2;
  return shape;
}

inline NormShape norm_shape(const Shape& shape) {
  int64_t rows = 1;
  for (const int64_t size : without_last(shape)) rows *= size;
  return {rows, shape.back()};
}

// `tensor` [..., width] and its norm's parameters.
inline void check_norm(const std::string& op, const std::string& argument, const paddle::Tensor& tensor,
                       const paddle::Tensor& scale, const paddle::Tensor& bias) {
  require_float32(tensor, op, argument);
  if (tensor.shape().empty()) refuse(op + ": " + argument + " has shape [], expected [..., width]");
  check_like(op, "scale", scale, {tensor.shape().back()});
  check_like(op, "bias", bias, {tensor.shape().back()});
}

}  // namespace ops
