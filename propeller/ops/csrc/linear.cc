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
  if (activation == Activation::kGelu) {
    for_lanes(count, [&](int64_t j, auto extent, int) {
      const Gelu g = gelu(load(values + j, extent));
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

// `matrix` [rows, columns], or its transpose, as right factor. float32 numbers are copied only if they must be.
const void* right(const float* matrix, int64_t rows, int64_t columns, bool transposed, Precision precision,
                  Scratch& scratch) {
  if (precision == Precision::kFloat32) {
    if (!transposed) return matrix;
    auto* result = scratch.get<float>(rows * columns);
    transpose(matrix, rows, columns, result);
    return result;
  }
  auto* packed = scratch.get<bfloat16>(transposed ? packed_size(columns, rows) : packed_size(rows, columns));
  transposed ? pack_transposed(matrix, rows, columns, packed) : pack(matrix, rows, columns, packed);
  return packed;
}

// out [columns of a, columns of b] = a^T b, both with `rows` rows.
void transposed_product(int64_t rows, const float* a, int64_t a_columns, const float* b, int64_t b_columns,
                        Precision precision, float* out) {
  thread_local Scratch left_scratch, right_scratch;
  const void *first, *second = right(b, rows, b_columns, false, precision, right_scratch);
  int64_t stride = rows;
  if (precision == Precision::kFloat32) {
    auto* transposed = left_scratch.get<float>(rows * a_columns);
    transpose(a, rows, a_columns, transposed);
    first = transposed;
  } else {
    stride = round_up(rows, 2);
    auto* transposed = left_scratch.get<bfloat16>(stride * a_columns);
    transpose_to_bfloat16(a, rows, a_columns, transposed);
    first = transposed;
  }
  multiply({a_columns, b_columns, rows, precision, first, stride, second, nullptr, out});
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
  const void* a = left(dz, s.rows, s.outputs, precision, left_scratch);
  const void* b = s.transposed ? right(weight, s.outputs, s.inputs, false, precision, right_scratch)
                               : right(weight, s.inputs, s.outputs, true, precision, right_scratch);
  multiply({s.rows, s.inputs, s.outputs, precision, a, s.outputs, b, nullptr, dx});
}

}  // namespace

void linear_forward(const LinearShape& s, Activation activation, Precision precision, const float* x,
                    const float* weight, const float* bias, float* y, void* slope) {
  thread_local Scratch left_scratch, right_scratch;
  const void* a = left(x, s.rows, s.inputs, precision, left_scratch);
  const void* b = s.transposed ? right(weight, s.outputs, s.inputs, true, precision, right_scratch)
                               : right(weight, s.inputs, s.outputs, false, precision, right_scratch);
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
