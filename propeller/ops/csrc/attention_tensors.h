// What the operators with attention in them check of Paddle's tensors.
#pragma once

#include <string>

#include "attention.h"
#include "tensors.h"

namespace ops {

inline void check_starts(const std::string& op, const std::string& argument, const Shape& tokens, const Shape& starts) {
  if (starts.size() != 1 || starts[0] == 0) {
    refuse(op + ": starts has shape " + text(starts) + ", expected [rows + 1] for " + argument + " of shape " +
           text(tokens));
  }
}

// Of `argument` [tokens, parts x hidden].
inline AttentionShape attention_shape(const std::string& op, const std::string& argument, const Shape& tokens,
                                      int64_t parts, const paddle::Tensor& starts, int64_t heads) {
  require_int64(starts, op, "starts");
  check_starts(op, argument, tokens, starts.shape());
  const AttentionShape shape{tokens[0], tokens[1] / parts, heads, starts.shape()[0] - 1, starts.data<int64_t>()};
  bool ordered = shape.starts[0] == 0 && shape.starts[shape.rows] == shape.tokens;
  for (int64_t i = 0; i < shape.rows; ++i) ordered = ordered && shape.starts[i] <= shape.starts[i + 1];
  if (!ordered) {
    refuse(op + ": starts of shape " + text(starts.shape()) + " must rise from 0 to the " +
           std::to_string(shape.tokens) + " tokens of " + argument + " of shape " + text(tokens));
  }
  return shape;
}

}  // namespace ops
