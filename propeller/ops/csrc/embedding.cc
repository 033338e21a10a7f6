#include "embedding.h"

#include "norm_rows.h"

namespace ops {
namespace {

constexpr int64_t kFilledAtOnce = 1 << 18, kColumns = 64;

void add_up(int64_t width, const std::vector<Lookup>& lookups, int64_t i, float* sum) {
  std::fill(sum, sum + width, 0.0f);
  for (const Lookup& lookup : lookups) {
    add_to(lookup.table + lookup.ids[i] * width, width, sum);
  }
}

// dtables[t][id of row i] += drows[i] for all rows. A thread has columns of its own and sees the rows in their order.
void scatter(const NormShape& s, const std::vector<Lookup>& lookups, const float* drows,
             const std::vector<float*>& dtables) {
  const int64_t chunks = ceil_div(s.width, kColumns);
  for (size_t t = 0; t < lookups.size(); ++t) {
    if (dtables[t] == nullptr) continue;
    const int64_t size = lookups[t].table_rows * s.width;
    parallel_for(ceil_div(size, kFilledAtOnce), [&](int64_t i) {
      std::fill(dtables[t] + i * kFilledAtOnce, dtables[t] + std::min(size, (i + 1) * kFilledAtOnce), 0.0f);
    });
  }
  parallel_for(static_cast<int64_t>(lookups.size()) * chunks, [&](int64_t unit) {
    const int64_t t = unit / chunks, column = unit % chunks * kColumns;
    if (dtables[t] == nullptr) return;
    const int64_t count = std::min(kColumns, s.width - column);
    for (int64_t i = 0; i < s.rows; ++i) {
      add_to(drows + i * s.width + column, count, dtables[t] + lookups[t].ids[i] * s.width + column);
    }
  });
}

}  // namespace

std::string wrong_id(const std::vector<Lookup>& lookups, int64_t rows) {
  for (size_t t = 0; t < lookups.size(); ++t) {
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t id = lookups[t].ids[i];
      if (id >= 0 && id < lookups[t].table_rows) continue;
      return "ids " + std::to_string(t) + " hold " + std::to_string(id) + " (element " + std::to_string(i) +
             "), expected 0 to " + std::to_string(lookups[t].table_rows - 1) + ": table " + std::to_string(t) +
             " has " + std::to_string(lookups[t].table_rows) + " rows";
    }
  }
  return "";
}

void embedding_norm_forward(const NormShape& s, const std::vector<Lookup>& lookups, float epsilon,
                            const Dropout& dropout, const float* scale, const float* bias, float* y, float* stats) {
  parallel_for(ceil_div(s.rows, kBlockRows), [&](int64_t block) {
    thread_local Scratch scratch;
    float* const factors = dropout.threshold == 0 ? nullptr : scratch.get<float>(s.width);
    for (int64_t i = block * kBlockRows; i < std::min(s.rows, (block + 1) * kBlockRows); ++i) {
      float* const row = y + i * s.width;
      add_up(s.width, lookups, i, row);
      norm_row(s.width, epsilon, scale, bias, row, stats + 2 * i);
      if (factors == nullptr) continue;
      row_factors(dropout, i, s.width, factors);
      multiply_row(row, factors, s.width, row);
    }
  });
}

void embedding_norm_backward(const NormShape& s, const std::vector<Lookup>& lookups, const Dropout& dropout,
                             const float* scale, const float* stats, const float* dy,
                             const std::vector<float*>& dtables, float* dscale, float* dbias) {
  Scratch scratch;
  float* const drows = scratch.get<float>(s.rows * s.width);
  sum_over_blocks(s.rows, s.width, dscale, dbias, [&](int64_t first, int64_t last, float* scales, float* biases) {
    thread_local Scratch factor_scratch, slope_scratch;
    float* const factors = dropout.threshold == 0 ? nullptr : factor_scratch.get<float>(s.width);
    float* const dropped = slope_scratch.get<float>(s.width);
    for (int64_t i = first; i < last; ++i) {
      const float* slopes = dy + i * s.width;
      if (factors != nullptr) {
        row_factors(dropout, i, s.width, factors);
        multiply_row(slopes, factors, s.width, dropped);
        slopes = dropped;
      }
      float* const row = drows + i * s.width;
      add_up(s.width, lookups, i, row);
      norm_row_gradient(s.width, stats + 2 * i, scale, slopes, row, row, scales, biases);
    }
  });
  scatter(s, lookups, drows, dtables);
}

}  // namespace ops
