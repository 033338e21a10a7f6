#include "linear.h"

#include <algorithm>

#include "bfloat16.h"
#include "functions.h"
#include "support.h"

namespace ops {
namespace {

constexpr int64_t kSumColumns = 64;

// Row of z = x W + b: `values` become activation(z), `slopes` get its derivative.
template <typename T>
void activate(Activation activation, int64_t count, float* values, T* slopes) {
  if (activation == Activation::kGelu || activation == Activation::kGeluTanh) {
    const bool exact = activation == Activation::kGelu;
    for_lanes(count, [&](int64_t j, auto extent, int) {
      const Lanes z = load(values + j, extent);
      const Gelu g = exact ? gelu(z) : gelu_tanh(z);
      store(g.value, values + j, extent);
      store(g.slope, slopes + j, extent);
    });
  } else {
    for_lanes(count, [&](int64_t j, auto extent, int) {
      const Lanes z = load(values + j, extent);
      store(z < Lanes{} ? Lanes{} : z, values + j, extent);  // NaN stays
      store(z > Lanes{} ? lanes(1) : Lanes{}, slopes + j, extent);
    });
  }
}

template <typename T>
void activate_tile(const Tile& tile, int64_t columns, Activation activation, float* y, T* slope) {
  for (int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
    const int64_t at = i * columns + tile.column;
    activate(activation, tile.columns, y + at, slope + at);
  }
}

// dz = dy * slope (null: 1) in float32 and its sums over rows. `dz` may be null where it is dy itself.
template <typename T>
void scale_and_sum(const LinearShape& shape, const float* dy, const T* slope, float* dz, float* sums) {
  parallel_for(ceil_div(shape.outputs, kSumColumns), [&](int64_t block) {
    const int64_t column = block * kSumColumns, width = std::min(kSumColumns, shape.outputs - column);
    float sum[kSumColumns] = {};
    for (int64_t i = 0; i < shape.rows; ++i) {
      const int64_t at = i * shape.outputs + column;
      if (slope == nullptr) {
        add_to(dy + at, width, sum);
        continue;
      }
      for_lanes(width, [&](int64_t j, auto extent, int) {
        const Lanes z = load(dy + at + j, extent) * load(slope + at + j, extent);
        store(z, dz + at + j, extent);
        store(load(sum + j, extent) + z, sum + j, extent);
      });
    }
    std::copy(sum, sum + width, sums + column);
  });
}

// Columns [first, first + count) of dz = dy * slope (null: 1), read once: as left factor, `left` [rows, outputs], where
// these columns are filled; as right factor with zeros up to `depth` rows, `packed`; and their sums, within blocks of rows
// and then over the blocks. What is null is not wanted.
void convert_gradient(const LinearShape& shape, int64_t first, int64_t count, const float* dy, const bfloat16* slope,
                      int64_t depth, bfloat16* left, uint32_t* packed, float* sums) {
  const int64_t blocks = ceil_div(depth, kPackRows);
  std::vector<float> parts(blocks * count);
  parallel_for(blocks, [&](int64_t block) {
    float* const sum = parts.data() + block * count;
    for (int64_t i = 0; i < kPackRows; i += 2) {
      const int64_t row = block * kPackRows + i, at = row * shape.outputs + first;
      const int64_t there = std::clamp<int64_t>(shape.rows - row, 0, 2);  // of the two rows
      const auto z = [&](int64_t place, auto extent) {
        const Lanes value = load(dy + place, extent);
        const Lanes scaled = slope == nullptr ? value : value * load(slope + place, extent);
        if (left != nullptr) store(scaled, left + place, extent);
        return scaled;
      };
      for (int64_t column = 0; column < count; column += kPackColumns) {
        const int64_t width = std::min(kPackColumns, count - column), pairs = kPackRows / 2 * kPackColumns;
        uint32_t* const to =
            packed == nullptr ? nullptr : packed + (column / kPackColumns * blocks + block) * pairs + i / 2 * kPackColumns;
        for_lanes(width, [&](int64_t j, auto extent, int) {
          const int64_t place = at + column + j;
          const Lanes low = there > 0 ? z(place, extent) : Lanes{};
          const Lanes high = there > 1 ? z(place + shape.outputs, extent) : Lanes{};
          store(load(sum + column + j, extent) + low + high, sum + column + j, extent);
          if (to != nullptr) store(pairs_of(low, high), to + j, extent);
        });
        if (to != nullptr) std::fill(to + width, to + kPackColumns, 0u);
      }
    }
  });
  std::fill(sums, sums + count, 0.0f);
  for (int64_t block = 0; block < blocks; ++block) add_to(parts.data() + block * count, count, sums);
}

// x as left factor.
const void* left(const float* x, int64_t rows, int64_t columns, Precision precision, Scratch& scratch) {
  if (precision == Precision::kFloat32) return x;
  auto* converted = scratch.get<bfloat16>(rows * columns);
  to_bfloat16(x, rows, columns, converted);
  return converted;
}

// A product over all rows of a batch takes some more, of zeros, so that few different kernels serve all numbers of rows:
// 3 % of them at the most, or 31.
int64_t depth_of(int64_t rows) {
  int64_t step = kPackRows;
  while (step * 64 <= rows) step *= 2;
  return round_up(rows, step);
}

// Right factors of as many rows and columns: `stride` elements from one row to the next where they are float32.
struct RightFactors {
  std::vector<const void*> parts;
  int64_t stride;
};

// `matrix` [rows, columns] in float32, with zeros up to `depth` rows, copied only if it must be.
const float* deepened(const float* matrix, int64_t rows, int64_t columns, int64_t depth, Scratch& scratch) {
  if (depth == rows) return matrix;
  auto* result = scratch.get<float>(depth * columns);
  parallel_for(depth, [&](int64_t i) {
    float* row = result + i * columns;
    i < rows ? std::copy_n(matrix + i * columns, columns, row) : std::fill_n(row, columns, 0.0f);
  });
  return result;
}

// Matrices [rows, columns] as right factors, with zeros up to `depth` rows (of several: `rows`).
RightFactors right(const std::vector<const float*>& matrices, int64_t rows, int64_t columns, int64_t depth,
                   Precision precision, Scratch& scratch) {
  RightFactors factors{{}, columns};
  if (precision == Precision::kFloat32) {
    for (const float* matrix : matrices) factors.parts.push_back(deepened(matrix, rows, columns, depth, scratch));
    return factors;
  }
  const int64_t size = packed_size(depth, columns);
  auto* packed = scratch.get<uint32_t>(size * matrices.size());
  for (const float* matrix : matrices) {
    pack(matrix, rows, columns, depth, packed);
    factors.parts.push_back(packed);
    packed += size;
  }
  return factors;
}

// The transpose of matrices [rows, columns] side by side as one right factor.
RightFactors right_transposed(const std::vector<const float*>& matrices, int64_t rows, int64_t columns,
                              Precision precision, Scratch& scratch) {
  const int64_t count = static_cast<int64_t>(matrices.size());
  if (precision == Precision::kFloat32) {
    auto* result = scratch.get<float>(rows * columns * count);
    for (int64_t p = 0; p < count; ++p) transpose(matrices[p], rows, columns, rows, result + p * rows * columns);
    return {{result}, rows};
  }
  auto* packed = scratch.get<uint32_t>(packed_size(columns * count, rows));
  pack_transposed({matrices, columns}, rows, packed);
  return {{packed}, rows};
}

// x^T as left factor, with zeros up to `depth` columns.
const void* left_transposed(const float* x, int64_t rows, int64_t columns, int64_t depth, Precision precision,
                            Scratch& scratch) {
  if (precision == Precision::kFloat32) {
    auto* transposed = scratch.get<float>(depth * columns);
    transpose(x, rows, columns, depth, transposed);
    return transposed;
  }
  auto* transposed = scratch.get<uint32_t>(depth / 2 * columns);
  transpose_to_bfloat16(x, rows, columns, depth, transposed);
  return transposed;
}

// dz, the gradient of x W + b, in the forms that products read.
struct Slopes {
  const void* left;    // null: not wanted
  RightFactors right;  // of each layer, with zeros up to `depth` rows; empty: not wanted
  int64_t depth;
};

// The gradients of the biases, and dz in bfloat16, in one pass over dy.
Slopes bfloat16_slopes(const LinearShape& s, const bfloat16* slope, const float* dy, bool left_wanted,
                       bool right_wanted, const std::vector<float*>& dbiases, Scratch& left_scratch,
                       Scratch& right_scratch) {
  const int64_t count = static_cast<int64_t>(dbiases.size()), each = s.outputs / count, depth = depth_of(s.rows);
  const int64_t size = packed_size(depth, each);
  auto* rows = left_wanted ? left_scratch.get<bfloat16>(s.rows * s.outputs) : nullptr;
  auto* packed = right_wanted ? right_scratch.get<uint32_t>(size * count) : nullptr;
  Slopes slopes{rows, {{}, each}, depth};
  for (int64_t p = 0; p < count; ++p) {
    uint32_t* own = right_wanted ? packed + p * size : nullptr;
    convert_gradient(s, p * each, each, dy, slope, depth, rows, own, dbiases[p]);
    if (right_wanted) slopes.right.parts.push_back(own);
  }
  return slopes;
}

// dz in float32, and the gradients of the biases.
template <typename T>
const float* float32_slopes(const LinearShape& s, const T* slope, const float* dy,
                            const std::vector<float*>& dbiases, Scratch& scratch) {
  auto* scaled = slope == nullptr ? nullptr : scratch.get<float>(s.rows * s.outputs);
  std::vector<float> sums(s.outputs);
  scale_and_sum(s, dy, slope, scaled, sums.data());
  const int64_t each = s.outputs / static_cast<int64_t>(dbiases.size());
  for (size_t p = 0; p < dbiases.size(); ++p) std::copy_n(sums.data() + p * each, each, dbiases[p]);
  return slope == nullptr ? dy : scaled;
}

// dx = dz W^T; W of several layers side by side.
void input_gradient(const LinearShape& s, Precision precision, const std::vector<const float*>& weights,
                    const void* dz, float* dx) {
  thread_local Scratch scratch;
  const Trim trim(scratch);
  const int64_t each = s.outputs / static_cast<int64_t>(weights.size());
  const RightFactors b = s.transposed ? right(weights, s.outputs, s.inputs, s.outputs, precision, scratch)
                                      : right_transposed(weights, s.inputs, each, precision, scratch);
  multiply({{s.rows, s.inputs, s.outputs, precision, dz, s.outputs, b.parts[0], b.stride, nullptr, dx, s.inputs}});
}

// x^T dz of each layer.
void weight_gradients(const LinearShape& s, Precision precision, const float* x, const Slopes& dz,
                      const std::vector<float*>& dweights) {
  thread_local Scratch scratch;
  const Trim trim(scratch);
  const int64_t each = s.outputs / static_cast<int64_t>(dweights.size());
  const void* a = left_transposed(x, s.rows, s.inputs, dz.depth, precision, scratch);
  std::vector<Product> products;
  for (size_t p = 0; p < dweights.size(); ++p) {
    products.push_back({s.inputs, each, dz.depth, precision, a, dz.depth, dz.right.parts[p], dz.right.stride, nullptr,
                        dweights[p], each});
  }
  multiply(products);
}

// `dz` in float32 as what products read.
Slopes slopes_of(const LinearShape& s, const float* dz, size_t count, Scratch& scratch) {
  const int64_t depth = depth_of(s.rows), each = s.outputs / static_cast<int64_t>(count);
  const float* deep = deepened(dz, s.rows, s.outputs, depth, scratch);
  Slopes slopes{dz, {{}, s.outputs}, depth};
  for (size_t p = 0; p < count; ++p) slopes.right.parts.push_back(deep + p * each);
  return slopes;
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
  multiply(products, [&](const Tile& tile) {
    if (activation == Activation::kNone) return;
    if (precision == Precision::kFloat32) {
      activate_tile(tile, s.outputs, activation, y, static_cast<float*>(slope));
    } else {
      activate_tile(tile, s.outputs, activation, y, static_cast<bfloat16*>(slope));
    }
  });
}

void linear_backward(const LinearShape& s, Activation activation, Precision precision, const float* x,
                     const std::vector<const float*>& weights, const void* slope, const float* dy, float* dx,
                     const std::vector<float*>& dweights, const std::vector<float*>& dbiases) {
  thread_local Scratch left_scratch, right_scratch;
  const Trim trim_left(left_scratch), trim_right(right_scratch);
  if (activation == Activation::kNone) slope = nullptr;
  const int64_t each = s.outputs / static_cast<int64_t>(weights.size());
  const bool empty = s.rows == 0;
  if (empty) {
    for (float* dweight : dweights) std::fill(dweight, dweight + s.inputs * each, 0.0f);
  }
  if (precision == Precision::kBfloat16 && !s.transposed) {
    const Slopes dz = bfloat16_slopes(s, static_cast<const bfloat16*>(slope), dy, dx != nullptr, !dweights.empty(),
                                      dbiases, left_scratch, right_scratch);
    if (dx != nullptr) input_gradient(s, precision, weights, dz.left, dx);
    if (!dweights.empty() && !empty) weight_gradients(s, precision, x, dz, dweights);
    return;
  }
  const float* dz = precision == Precision::kFloat32
                        ? float32_slopes(s, static_cast<const float*>(slope), dy, dbiases, left_scratch)
                        : float32_slopes(s, static_cast<const bfloat16*>(slope), dy, dbiases, left_scratch);
  if (dx != nullptr) {
    thread_local Scratch scratch;
    const Trim trim(scratch);
    input_gradient(s, precision, weights, left(dz, s.rows, s.outputs, precision, scratch), dx);
  }
  if (dweights.empty() || empty) return;
  if (s.transposed) {
    transposed_product(s.rows, dz, s.outputs, x, s.inputs, precision, dweights[0]);
  } else {
    weight_gradients(s, precision, x, slopes_of(s, dz, dweights.size(), right_scratch), dweights);
  }
}

}  // namespace ops
