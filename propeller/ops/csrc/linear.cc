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
    if (sums != nullptr) std::copy(sum, sum + width, sums + column);
  });
}

// x as left factor, and its stride.
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

// `matrix` [rows, columns] as right factor, with zeros up to `depth` rows. float32 numbers are copied only if they must be.
const void* right(const float* matrix, int64_t rows, int64_t columns, int64_t depth, Precision precision,
                  Scratch& scratch) {
  if (precision == Precision::kFloat32) {
    if (depth == rows) return matrix;
    auto* result = scratch.get<float>(depth * columns);
    parallel_for(depth, [&](int64_t i) {
      float* row = result + i * columns;
      i < rows ? std::copy_n(matrix + i * columns, columns, row) : std::fill_n(row, columns, 0.0f);
    });
    return result;
  }
  auto* packed = scratch.get<uint32_t>(packed_size(depth, columns));
  pack(matrix, rows, columns, depth, packed);
  return packed;
}

// The transpose of `matrix` [rows, columns] as right factor.
const void* right_transposed(const float* matrix, int64_t rows, int64_t columns, Precision precision,
                             Scratch& scratch) {
  if (precision == Precision::kFloat32) {
    auto* result = scratch.get<float>(rows * columns);
    transpose(matrix, rows, columns, rows, result);
    return result;
  }
  auto* packed = scratch.get<uint32_t>(packed_size(columns, rows));
  pack_transposed(matrix, rows, columns, packed);
  return packed;
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

// out [columns of a, columns of b] = a^T b, both with `rows` rows.
void transposed_product(int64_t rows, const float* a, int64_t a_columns, const float* b, int64_t b_columns,
                        Precision precision, float* out) {
  thread_local Scratch left_scratch, right_scratch;
  const Trim trim_left(left_scratch), trim_right(right_scratch);
  const int64_t depth = depth_of(rows);
  const void* first = left_transposed(a, rows, a_columns, depth, precision, left_scratch);
  const void* second = right(b, rows, b_columns, depth, precision, right_scratch);
  multiply({a_columns, b_columns, depth, precision, first, depth, second, nullptr, out});
}

void weight_gradient(const LinearShape& s, Precision precision, const float* x, const float* dz, float* dweight) {
  if (s.transposed) {
    transposed_product(s.rows, dz, s.outputs, x, s.inputs, precision, dweight);
  } else {
    transposed_product(s.rows, x, s.inputs, dz, s.outputs, precision, dweight);
  }
}

void input_gradient(const LinearShape& s, Precision precision, const float* weight, const float* dz, float* dx) {
  thread_local Scratch left_scratch, right_scratch;
  const Trim trim_left(left_scratch), trim_right(right_scratch);
  const void* a = left(dz, s.rows, s.outputs, precision, left_scratch);
  const void* b = s.transposed ? right(weight, s.outputs, s.inputs, s.outputs, precision, right_scratch)
                               : right_transposed(weight, s.inputs, s.outputs, precision, right_scratch);
  multiply({s.rows, s.inputs, s.outputs, precision, a, s.outputs, b, nullptr, dx});
}

}  // namespace

void linear_forward(const LinearShape& s, Activation activation, Precision precision, const float* x,
                    const float* weight, const float* bias, float* y, void* slope) {
  thread_local Scratch left_scratch, right_scratch;
  const Trim trim_left(left_scratch), trim_right(right_scratch);
  const void* a = left(x, s.rows, s.inputs, precision, left_scratch);
  const void* b = s.transposed ? right_transposed(weight, s.outputs, s.inputs, precision, right_scratch)
                               : right(weight, s.inputs, s.outputs, s.inputs, precision, right_scratch);
  multiply({s.rows, s.outputs, s.inputs, precision, a, s.inputs, b, bias, y}, [&](const Tile& tile) {
    if (activation == Activation::kNone) return;
    if (precision == Precision::kFloat32) {
      activate_tile(tile, s.outputs, activation, y, static_cast<float*>(slope));
    } else {
      activate_tile(tile, s.outputs, activation, y, static_cast<bfloat16*>(slope));
    }
  });
}

void linear_backward(const LinearShape& s, Activation activation, Precision precision, const float* x,
                     const float* weight, const void* slope, const float* dy, float* dx, float* dweight,
                     float* dbias) {
  thread_local Scratch scratch;
  const Trim trim(scratch);
  const float* dz = dy;
  if (activation != Activation::kNone) {
    auto* scaled = scratch.get<float>(s.rows * s.outputs);
    if (precision == Precision::kFloat32) {
      scale_and_sum(s, dy, static_cast<const float*>(slope), scaled, dbias);
    } else {
      scale_and_sum(s, dy, static_cast<const bfloat16*>(slope), scaled, dbias);
    }
    dz = scaled;
  } else if (dbias != nullptr) {
    scale_and_sum<float>(s, dy, nullptr, nullptr, dbias);
  }
  if (dx != nullptr) input_gradient(s, precision, weight, dz, dx);
  if (dweight != nullptr && s.rows == 0) std::fill(dweight, dweight + s.inputs * s.outputs, 0.0f);
  if (dweight != nullptr && s.rows != 0) weight_gradient(s, precision, x, dz, dweight);
}

}  // namespace ops
