#include "linear.h"

#include <algorithm>

#include "factors.h"
#include "support.h"

namespace ops {
namespace {

// Tiles of dz = dy * slope (null: 1) to `store`, and the sums over its rows.
template <typename Store>
void scale_and_sum(const LinearShape& shape, Precision precision, const float* dy, const void* slope,
                   const std::vector<float*>& sums, Store&& store) {
  const ColumnSums all(ceil_div(shape.rows, kPackRows), shape.outputs);
  for_tiles(dy, shape.rows, shape.outputs, [&](const Tile& tile) {
    thread_local Scratch scratch;
    Tile dz = tile;
    if (slope != nullptr) {
      dz.data = scratch.get<float>(tile.rows * tile.columns);
      dz.stride = tile.columns;
      times_slope(tile, precision, shape.outputs, slope, dz);
    }
    all.add(dz);
    store(dz);
  });
  all.total(sums);
}

// Where the weight is [outputs, inputs], its gradient is dz^T x, of which dz is the left factor.
void transposed_backward(const LinearShape& s, Precision precision, const float* x, const float* weight,
                         const void* slope, const float* dy, float* dx, float* dweight, float* dbias) {
  Scratch scaled, scratch, right_scratch;
  float* const memory = slope == nullptr ? nullptr : scaled.get<float>(s.rows * s.outputs);
  scale_and_sum(s, precision, dy, slope, {dbias}, [&](const Tile& tile) {
    for (int64_t i = 0; i < tile.rows && memory != nullptr; ++i) {
      std::copy_n(tile.at(i), tile.columns, memory + (tile.row + i) * s.outputs + tile.column);
    }
  });
  const float* dz = memory == nullptr ? dy : memory;
  if (dx != nullptr) {
    const void* a = left(dz, s.rows, s.outputs, precision, scratch);
    const RightFactors b = right({weight}, s.outputs, s.inputs, s.outputs, precision, right_scratch);
    multiply({{s.rows, s.inputs, s.outputs, precision, a, s.outputs, b.parts[0], b.stride, nullptr, dx, s.inputs}});
  }
  if (dweight != nullptr) transposed_product(s.rows, dz, s.outputs, x, s.inputs, precision, dweight);
}

}  // namespace

void transposed_product(int64_t rows, const float* a, int64_t a_columns, const float* b, int64_t b_columns,
                        Precision precision, float* out) {
  if (rows == 0) {
    std::fill(out, out + a_columns * b_columns, 0.0f);
    return;
  }
  thread_local Scratch left_scratch, right_scratch;
  const Trim trim_left(left_scratch), trim_right(right_scratch);
  const int64_t depth = depth_of(rows);
  const void* first = left_transposed(a, rows, a_columns, depth, precision, left_scratch);
  const RightFactors second = right({b}, rows, b_columns, depth, precision, right_scratch);
  multiply({{a_columns, b_columns, depth, precision, first, depth, second.parts[0], second.stride, nullptr, out,
             b_columns}});
}

void linear_forward(const LinearShape& s, Activation activation, Precision precision, const float* x,
                    const std::vector<const float*>& weights, const std::vector<const float*>& biases, float* y,
                    void* slope) {
  thread_local Scratch left_scratch, right_scratch;
  const Trim trim_left(left_scratch), trim_right(right_scratch);
  const int64_t each = s.outputs / static_cast<int64_t>(weights.size());
  const void* a = left(x, s.rows, s.inputs, precision, left_scratch);
  const RightFactors b = s.transposed ? right_transposed(weights, s.outputs, s.inputs, precision, right_scratch)
                                      : right(weights, s.inputs, each, s.inputs, precision, right_scratch);
  std::vector<Product> products;
  for (size_t p = 0; p < weights.size(); ++p) {
    products.push_back(
        {s.rows, each, s.inputs, precision, a, s.inputs, b.parts[p], b.stride, biases[p], y + p * each, s.outputs});
  }
  multiply(products, [&](const Tile& tile) { activate(tile, activation, precision, s.outputs, slope); });
}

void linear_backward(const LinearShape& s, Activation activation, Precision precision, const float* x,
                     const std::vector<const float*>& weights, const void* slope, const float* dy, float* dx,
                     const std::vector<float*>& dweights, const std::vector<float*>& dbiases) {
  if (activation == Activation::kNone) slope = nullptr;
  const int64_t each = s.outputs / static_cast<int64_t>(weights.size());
  if (s.transposed) {
    transposed_backward(s, precision, x, weights[0], slope, dy, dx, dweights.empty() ? nullptr : dweights[0], dbiases[0]);
    return;
  }
  const LayerGradient dz(s.rows, s.outputs, static_cast<int64_t>(weights.size()), precision, dx != nullptr,
                         !dweights.empty());
  scale_and_sum(s, precision, dy, slope, dbiases, [&](const Tile& tile) { dz.store(tile); });
  if (dx != nullptr) input_gradient(s.rows, s.inputs, s.outputs, precision, weights, dz.left(), false, dx);
  if (dweights.empty()) return;
  Scratch scratch;
  const void* x_transposed = left_transposed(x, s.rows, s.inputs, depth_of(s.rows), precision, scratch);
  weight_gradients(s.rows, s.inputs, precision, x_transposed, dz.right(), dweights, each);
}

}  // namespace ops
