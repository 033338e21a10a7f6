// Products with weights that are packed once: of float32 numbers, of bfloat16 numbers with sums in float32, or of whole
// numbers of 8 bits with exact sums. In 8 bits a weight has a scale for each output, and a row of input one of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lanes.h"
#include "small_product.h"
#include "support.h"

namespace ops {

enum class Form { kFloat32, kBfloat16, kInt8 };

// Columns of a panel, in which a weight lies: as many as the sums of a product's tile have.
constexpr int64_t kPanelColumns = 4 * kLanes;

// Elements of 32 bits that `count` numbers take: one, two or four numbers in each.
int64_t steps_of(Form form, int64_t count);

// Rows as left factor: elements of 32 bits, `stride` from one row to the next. In 8 bits a row is `scale` times its numbers.
struct LeftRows {
  uint32_t* data;
  float* scales;
  int64_t stride;
};

// Row `i` of `rows` <- x [count]
void put_row(Form form, const float* x, int64_t count, int64_t i, const LeftRows& rows);

// A weight [inputs, outputs] and its bias [outputs].
class PackedWeight {
 public:
  // `weights`: matrices [inputs, outputs of each] that become one, side by side; so with `biases`.
  PackedWeight(Form form, int64_t inputs, int64_t outputs_of_each, const std::vector<const float*>& weights,
               const std::vector<const float*>& biases);

  int64_t inputs() const { return inputs_; }
  int64_t outputs() const { return outputs_; }
  int64_t panels() const { return ceil_div(outputs_, kPanelColumns); }

  // Columns of a panel, the last one's rounded up to whole vectors.
  int64_t width(int64_t panel) const { return std::min(kPanelColumns, round_up(outputs_, kLanes) - panel * kPanelColumns); }

  // out [count, width(panel)] <- rows [first, first + count) of `rows` times the panel, and the bias.
  void multiply(int64_t panel, const LeftRows& rows, int64_t first, int64_t count, float* out) const;

 private:
  void pack(int64_t panel, const std::vector<const float*>& weights, int64_t each);

  Form form_;
  int64_t inputs_, outputs_, steps_;
  Scratch memory_;
  uint32_t* data_;
  std::vector<float> bias_, scales_;
  std::vector<int32_t> offsets_;  // what sums in 8 bits begin with, see `put_row`
};

}  // namespace ops
