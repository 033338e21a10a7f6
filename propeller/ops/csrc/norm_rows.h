// One row of a layer norm, and sums over rows in an order that does not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lanes.h"
#include "philox.h"
#include "support.h"

namespace ops {

constexpr int64_t kBlockRows = 32;  // a block's partial sums are one thread's, and stay in its first cache

// row <- norm(row) * scale + bias. `stats`: mean, 1 / sqrt(variance + epsilon).
inline void norm_row(int64_t width, float epsilon, const float* scale, const float* bias, float* row, float* stats) {
  Sum sum, squares;
  for_lanes(width, [&](int64_t j, auto extent, int k) { sum.part[k] += load(row + j, extent); });
  const float mean = sum.total() / width;
  for_lanes(width, [&](int64_t j, auto extent, int k) {
    const Lanes d = load(row + j, extent, mean) - mean;
    squares.part[k] += d * d;
  });
  const float factor = 1.0f / std::sqrt(squares.total() / width + epsilon);
  for_lanes(width, [&](int64_t j, auto extent, int) {
    const Lanes normal = (load(row + j, extent) - mean) * factor;
    store(normal * load(scale + j, extent) + load(bias + j, extent), row + j, extent);
  });
  stats[0] = mean;
  stats[1] = factor;
}

// x, what was normalised -> dx, its gradient, which may be x; `dscale` and `dbias` are added to.
inline void norm_row_gradient(int64_t width, const float* stats, const float* scale, const float* dy, const float* x,
                              float* dx, float* dscale, float* dbias) {
  const float mean = stats[0], factor = stats[1];
  Sum slopes, products;
  for_lanes(width, [&](int64_t j, auto extent, int k) {
    const Lanes normal = (load(x + j, extent, mean) - mean) * factor, d = load(dy + j, extent);
    const Lanes slope = d * load(scale + j, extent);
    slopes.part[k] += slope;
    products.part[k] += slope * normal;
    store(load(dscale + j, extent) + d * normal, dscale + j, extent);
    store(load(dbias + j, extent) + d, dbias + j, extent);
  });
  const float slope_mean = slopes.total() / width, product_mean = products.total() / width;
  for_lanes(width, [&](int64_t j, auto extent, int) {
    const Lanes normal = (load(x + j, extent) - mean) * factor;
    const Lanes slope = load(dy + j, extent) * load(scale + j, extent);
    store((slope - slope_mean - normal * product_mean) * factor, dx + j, extent);
  });
}

// The dropout's factors of row `i`, `count` of them from a column on that is a multiple of 4; so is where rows start.
inline void row_factors(const Dropout& dropout, int64_t i, int64_t width, int64_t column, int64_t count, float* out) {
  keep_factors(dropout, static_cast<uint64_t>(i * round_up(width, 4) + column), count, out);
}

inline void row_factors(const Dropout& dropout, int64_t i, int64_t width, float* out) {
  row_factors(dropout, i, width, 0, width, out);
}

// `work(first, last, dscale, dbias)` for blocks of rows, on several threads; each adds to sums of its own, all 0 at
// first, which are then added up in the order of the blocks.
template <typename Work>
void sum_over_blocks(int64_t rows, int64_t width, float* dscale, float* dbias, Work&& work) {
  Scratch scratch;
  const int64_t blocks = ceil_div(rows, kBlockRows);
  float* const sums = scratch.get<float>(blocks * 2 * width);
  parallel_for(blocks, [&](int64_t block) {
    float* const own = sums + block * 2 * width;
    std::fill(own, own + 2 * width, 0.0f);
    work(block * kBlockRows, std::min(rows, (block + 1) * kBlockRows), own, own + width);
  });
  const auto add_up = [&](int64_t first, float* total) {
    constexpr int64_t kColumns = 256;
    parallel_for(ceil_div(width, kColumns), [&](int64_t chunk) {
      const int64_t column = chunk * kColumns, count = std::min(kColumns, width - column);
      float sum[kColumns] = {};
      for (int64_t block = 0; block < blocks; ++block) {
        add_to(sums + block * 2 * width + first + column, count, sum);
      }
      std::copy(sum, sum + count, total + column);
    });
  };
  add_up(0, dscale);
  add_up(width, dbias);
}

}  // namespace ops
