#include "norm.h"

#include "norm_rows.h"

namespace ops {
namespace {

// residual + dropout(x), as far as there is an x; `factors` of a row with dropout, else null.
void add_row(int64_t width, const float* factors, const float* x, const float* residual, float* sum) {
  if (x == nullptr) {
    std::copy(residual, residual + width, sum);
  } else if (factors == nullptr) {
    for_lanes(width, [&](int64_t j, auto extent, int) {
      store(load(residual + j, extent) + load(x + j, extent), sum + j, extent);
    });
  } else {
    for_lanes(width, [&](int64_t j, auto extent, int) {
      store(load(residual + j, extent) + load(x + j, extent) * load(factors + j, extent), sum + j, extent);
    });
  }
}

const float* at(const float* x, int64_t i) { return x == nullptr ? nullptr : x + i; }

}  // namespace

void residual_norm_forward(const NormShape& s, float epsilon, const Dropout& dropout, const float* x,
                           const float* residual, const float* scale, const float* bias, float* y, float* stats) {
  parallel_for(ceil_div(s.rows, kBlockRows), [&](int64_t block) {
    thread_local Scratch scratch;
    float* const factors = dropout.threshold == 0 ? nullptr : scratch.get<float>(s.width);
    for (int64_t i = block * kBlockRows; i < std::min(s.rows, (block + 1) * kBlockRows); ++i) {
      if (factors != nullptr) row_factors(dropout, i, s.width, factors);
      add_row(s.width, factors, at(x, i * s.width), residual + i * s.width, y + i * s.width);
      norm_row(s.width, epsilon, scale, bias, y + i * s.width, stats + 2 * i);
    }
  });
}

void residual_norm_backward(const NormShape& s, const Dropout& dropout, const float* x, const float* residual,
                            const float* scale, const float* stats, const float* dy, float* dx, float* dresidual,
                            float* dscale, float* dbias) {
  sum_over_blocks(s.rows, s.width, dscale, dbias, [&](int64_t first, int64_t last, float* scales, float* biases) {
    thread_local Scratch factor_scratch, row_scratch;
    float* const factors = dropout.threshold == 0 ? nullptr : factor_scratch.get<float>(s.width);
    float* const row = row_scratch.get<float>(s.width);
    for (int64_t i = first; i < last; ++i) {
      const int64_t start = i * s.width;
      if (factors != nullptr) row_factors(dropout, i, s.width, factors);
      add_row(s.width, factors, at(x, start), residual + start, row);
      norm_row_gradient(s.width, stats + 2 * i, scale, dy + start, row, row, scales, biases);
      if (dresidual != nullptr) std::copy(row, row + s.width, dresidual + start);
      if (dx == nullptr) continue;
      if (factors != nullptr) {
        multiply_row(row, factors, s.width, dx + start);
      } else {
        std::copy(row, row + s.width, dx + start);
      }
    }
  });
}

}  // namespace ops
