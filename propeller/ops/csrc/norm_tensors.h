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

inline void check_like(const std::string& op, const std::string& argument, const paddle::Tensor& tensor,
                       const Shape& expected) {
  require_float32(tensor, op, argument);
  if (tensor.shape() != expected) {
    refuse(op + ": " + argument + " has shape " + text(tensor.shape()) + ", expected " + text(expected));
  }
}

// `tensor` [..., width] and its norm's parameters.
inline void check_norm(const std::string& op, const std::string& argument, const paddle::Tensor& tensor,
                       const paddle::Tensor& scale, const paddle::Tensor& bias) {
  require_float32(tensor, op, argument);
  if (tensor.shape().empty()) refuse(op + ": " + argument + " has shape [], expected [..., width]");
  check_like(op, "scale", scale, {tensor.shape().back()});
  check_like(op, "bias", bias, {tensor.shape().back()});
}

inline Dropout dropout_from(const std::string& op, float probability, const paddle::optional<paddle::Tensor>& seed,
                            int64_t site) {
  if (probability == 0) return dropout_of(0, 0, 0);
  if (!(probability > 0 && probability < 1)) {
    refuse(op + ": dropout is " + std::to_string(probability) + ", expected 0 or more and less than 1");
  }
  if (!seed || seed->dtype() != paddle::DataType::INT64 || seed->numel() != 1) {
    refuse(op + ": seed is " + (seed ? phi::DataTypeToString(seed->dtype()) + " " + text(seed->shape()) : "missing") +
           ", expected int64 [1]");
  }
  return dropout_of(probability, *seed->data<int64_t>(), site);
}

}  // namespace ops
