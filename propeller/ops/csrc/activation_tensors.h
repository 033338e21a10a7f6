// Names of activations, as Python gives them to operators.
#pragma once

#include <string>

#include "activation.h"
#include "tensors.h"

namespace ops {

inline Activation activation_of(const std::string& op, const std::string& name) {
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  refuse(op + ": activation is '" + name + "', expected gelu, gelu_new or relu");
}

}  // namespace ops
