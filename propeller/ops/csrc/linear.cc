#include "linear.h"

#include <algorithm>

#include "support.h"
#include "vector.h"

namespace ops {
namespace {

constexpr int64_t kSumColumns = 64;

inline float load(const float* x) { return *x; }
inline float load(const bfloat16* x) { return from_bfloat16(*x); }

void store(const float* x, int64_t count, float* out) { std::copy(x, x + count, out); }
void store(const float* x, int64_t count, bfloat16* out) { to_bfloat16(x, count, out); }

// `values` hold z = x W + b and get activation(z); `slopes` get its derivative.
void activate(int64_t count, Activation activation, float* values, float* slopes) {
  if (activation == Activation::kGelu) {
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      const Gelu g = gelu(values[j]);
      values[j] = g.value;
      slopes[j] = g.slope;
    }
  } else {
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      const float z = values[j];
      values[j] = z < 0 ? 0.0f : z;  // NaN stays
      slopes[j] = z > 0 ? 1.0f : 0.0f;
    }
  }
}

template <typename T>
void activate_tile(const Tile& tile, int64_t columns, Activation activation, float* y, T* slope) {
  thread_local Scratch scratch;
  float* slopes = scratch.get<float>(tile.columns);
  for (int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
    const int64_t at = i * columns + tile.column;
    activate(tile.columns, activation, y + at, slopes);
    store(slopes, tile.columns, slope + at);
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
      if (slope != nullptr) {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) {
          const float z = dy[at + j] * load(slope + at + j);
          dz[at + j] = z;
          sum[j] += z;
        }
      } else {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) sum[j] += dy[at + j];
      }
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

void weight_gradient(const LinearShape& s, Precision precision, const float* x, const float* dz, float* dweight) {
  thread_local Scratch left_scratch, right_scratch;
  const void *a, *b = dz;
  int64_t stride = s.rows;
  if (precision == Precision::kFloat32) {
    auto* transposed = left_scratch.get<float>(s.rows * s.inputs);
    transpose(x, s.rows, s.inputs, transposed);
    a = transposed;
  } else {
    stride = round_up(s.rows, 2);
    auto* transposed = left_scratch.get<bfloat16>(stride * s.inputs);
    transpose_to_bfloat16(x, s.rows, s.inputs, transposed);
    a = transposed;
    auto* packed = right_scratch.get<bfloat16>(packed_size(s.rows, s.outputs));
    pack(dz, s.rows, s.outputs, packed);
    b = packed;
  }
  multiply({s.inputs, s.outputs, s.rows, precision, a, stride, b, nullptr, dweight});
}

void input_gradient(const LinearShape& s, Precision precision, const float* weight, const float* dz, float* dx) {
  thread_local Scratch left_scratch, right_scratch;
  const void *a = left(dz, s.rows, s.outputs, precision, left_scratch), *b;
  if (precision == Precision::kFloat32) {
    auto* transposed = right_scratch.get<float>(s.inputs * s.outputs);
    transpose(weight, s.inputs, s.outputs, transposed);
    b = transposed;
  } else {
    auto* packed = right_scratch.get<bfloat16>(packed_size(s.outputs, s.inputs));
    pack_transposed(weight, s.inputs, s.outputs, packed);
    b = packed;
  }
  multiply({s.rows, s.inputs, s.outputs, precision, a, s.outputs, b, nullptr, dx});
}

}  // namespace

void linear_forward(const LinearShape& s, Activation activation, Precision precision, const float* x,
                    const float* weight, const float* bias, float* y, void* slope) {
  thread_local Scratch left_scratch, right_scratch;
  const void *a = left(x, s.rows, s.inputs, precision, left_scratch), *b = weight;
  if (precision == Precision::kBfloat16) {
    auto* packed = right_scratch.get<bfloat16>(packed_size(s.inputs, s.outputs));
    pack(weight, s.inputs, s.outputs, packed);
    b = packed;
  }
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
