#include "packed.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "bfloat16.h"
#include "int8.h"

namespace ops {
namespace {

// Numbers of 8 bits go from -kMost to kMost; a processor multiplies one factor without sign, so that rows are put as
// kOffset more, and sums begin with kOffset times the weight's sum less.
constexpr int kMost = 127, kOffset = 128;

// The largest absolute value of a row; NaN where it has one.
float most_of(const float* x, int64_t count) {
  Bits most = {};
  for_lanes(count, [&](int64_t j, auto extent, int) {
    const Bits size = as_bits(load(x + j, extent)) & 0x7fffffffu;
    most = most < size ? size : most;
  });
  uint32_t each[kLanes], found = 0;
  store(most, each);
  for (const uint32_t one : each) found = std::max(found, one);
  float result;
  std::memcpy(&result, &found, sizeof result);
  return result;
}

void quantize(const float* x, float inverse, int64_t count, uint8_t* out) {
  for_lanes(count, [&](int64_t j, auto extent, int) { store_bytes(load(x + j, extent) * inverse, kOffset, out + j, extent); });
}

}  // namespace

int64_t steps_of(Form form, int64_t count) {
  return form == Form::kFloat32 ? count : ceil_div(count, form == Form::kBfloat16 ? 2 : 4);
}

void put_row(Form form, const float* x, int64_t count, int64_t i, const LeftRows& rows) {
  uint32_t* const out = rows.data + i * rows.stride;
  const int64_t steps = steps_of(form, count);
  if (form == Form::kFloat32) {
    std::memcpy(out, x, count * sizeof(float));
    return;
  }
  out[steps - 1] = 0;  // what fills it up
  if (form == Form::kBfloat16) {
    to_bfloat16(x, count, out);
    return;
  }
  const float most = most_of(x, count);
  rows.scales[i] = most / kMost;
  quantize(x, most > 0 ? kMost / most : 0, count, reinterpret_cast<uint8_t*>(out));
}

PackedWeight::PackedWeight(Form form, int64_t inputs, int64_t each, const std::vector<const float*>& weights,
                           const std::vector<const float*>& biases)
    : form_(form), inputs_(inputs), outputs_(each * static_cast<int64_t>(weights.size())),
      steps_(steps_of(form, inputs)), data_(memory_.get<uint32_t>(steps_ * round_up(outputs_, kLanes))),
      bias_(round_up(outputs_, kPanelColumns)),
      scales_(form == Form::kInt8 ? bias_.size() : 0), offsets_(scales_.size()) {
  for (size_t p = 0; p < biases.size(); ++p) std::copy_n(biases[p], each, bias_.data() + p * each);
  parallel_for(panels(), [&](int64_t panel) { pack(panel, weights, each); });
}

void PackedWeight::pack(int64_t panel, const std::vector<const float*>& weights, int64_t each) {
  const int64_t first = panel * kPanelColumns, count = std::min(kPanelColumns, outputs_ - first), stride = width(panel);
  const int64_t group = form_ == Form::kFloat32 ? 1 : form_ == Form::kBfloat16 ? 2 : 4;
  std::vector<float> columns(steps_ * group * stride);  // with zeros where it is filled up
  for (int64_t k = 0; k < inputs_; ++k) {
    for (int64_t j = 0; j < count; ++j) {
      const int64_t column = first + j;
      columns[k * stride + j] = weights[column / each][k * each + column % each];
    }
  }
  uint32_t* out = data_ + first * steps_;
  if (form_ == Form::kFloat32) {
    std::memcpy(out, columns.data(), columns.size() * sizeof(float));
    return;
  }
  if (form_ == Form::kBfloat16) {
    for (int64_t s = 0; s < steps_; ++s) {
      const float* low = columns.data() + 2 * s * stride;
      interleave(low, low + stride, stride, out + s * stride);
    }
    return;
  }
  std::vector<float> most(stride);
  for (int64_t k = 0; k < inputs_; ++k)
    for (int64_t j = 0; j < stride; ++j) most[j] = std::max(most[j], std::abs(columns[k * stride + j]));
  for (int64_t j = 0; j < stride; ++j) scales_[first + j] = most[j] / kMost;
  auto* bytes = reinterpret_cast<int8_t*>(out);
  for (int64_t k = 0; k < steps_ * group; ++k) {
    for (int64_t j = 0; j < stride; ++j) {
      const float scaled = most[j] > 0 ? columns[k * stride + j] * (kMost / most[j]) : 0;
      const auto whole = static_cast<int8_t>(std::lrint(scaled));
      bytes[(k / group * stride + j) * group + k % group] = whole;
      offsets_[first + j] -= kOffset * whole;
    }
  }
}

void PackedWeight::multiply(int64_t panel, const LeftRows& rows, int64_t first, int64_t count, float* out) const {
  const int64_t stride = width(panel), column = panel * kPanelColumns;
  const uint32_t *left = rows.data + first * rows.stride, *right = data_ + column * steps_;
  const void* const begin = form_ == Form::kInt8 ? static_cast<const void*>(offsets_.data() + column)
                                                 : static_cast<const void*>(bias_.data() + column);
  for (int64_t i = 0; i < count; ++i) std::memcpy(out + i * stride, begin, stride * sizeof(float));
  switch (form_) {
    case Form::kFloat32:
      small_product<float>(count, stride, steps_, {reinterpret_cast<const float*>(left), rows.stride, 1},
                           reinterpret_cast<const float*>(right), stride, out, stride, true);
      return;
    case Form::kBfloat16:
      small_product<uint32_t>(count, stride, steps_, {left, rows.stride, 1}, right, stride, out, stride, true);
      return;
    case Form::kInt8:
      small_product<Quad>(count, stride, steps_, {reinterpret_cast<const Quad*>(left), rows.stride, 1},
                          reinterpret_cast<const Quad*>(right), stride, out, stride, true);
      for (int64_t i = 0; i < count; ++i) {
        const float scale = rows.scales[first + i];
        for (int64_t j = 0; j < stride; j += kLanes) {
          const Lanes sum = whole_to_float(load(out + i * stride + j));
          store(sum * (scale * load(scales_.data() + column + j)) + load(bias_.data() + column + j), out + i * stride + j);
        }
      }
  }
}

}  // namespace ops
