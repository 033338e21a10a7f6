#include "sublayer.h"

#include "norm_rows.h"

namespace ops {

void add_residual(const Tile& z, const SublayerNorm& norm, const float* x) {
  const int64_t width = norm.shape.width;
  thread_local Scratch scratch;
  float* const factors = norm.dropout.threshold == 0 ? nullptr : scratch.get<float>(z.columns);
  for (int64_t i = 0; i < z.rows; ++i) {
    const float* const residual = x + (z.row + i) * width + z.column;
    float* const values = z.at(i);
    if (factors == nullptr) {
      add_to(residual, z.columns, values);
      continue;
    }
    row_factors(norm.dropout, z.row + i, width, z.column, z.columns, factors);
    for_lanes(z.columns, [&](int64_t j, auto extent, int) {
      store(load(residual + j, extent) + load(values + j, extent) * load(factors + j, extent), values + j, extent);
    });
  }
}

void sublayer_gradient(const SublayerNorm& norm, const float* sum, const float* stats, const float* dy, float* dresidual,
                       float* dscale, float* dbias, const LayerGradient& dz, float* dz_sums) {
  const auto [rows, width] = norm.shape;
  const ColumnSums sums(ceil_div(rows, kBlockRows), width);
  sum_over_blocks(rows, width, dscale, dbias, [&, w = width](int64_t first, int64_t last, float* scales, float* biases) {
    thread_local Scratch scratch, factor_scratch;
    float* const factors = norm.dropout.threshold == 0 ? nullptr : factor_scratch.get<float>(w);
    const Tile tile{first, last - first, 0, w, scratch.get<float>(kBlockRows * w), w, first / kBlockRows};
    for (int64_t i = first; i < last; ++i) {
      float* const row = tile.at(i - first);
      float* const gradient = dresidual == nullptr ? row : dresidual + i * w;
      norm_row_gradient(w, stats + 2 * i, norm.scale, dy + i * w, sum + i * w, gradient, scales, biases);
      if (factors != nullptr) {
        row_factors(norm.dropout, i, w, factors);
        multiply_row(gradient, factors, w, row);
      } else if (gradient != row) {
        std::copy_n(gradient, w, row);
      }
    }
    sums.add(tile);
    dz.store(tile);
  });
  sums.total({dz_sums});
}

}  // namespace ops
