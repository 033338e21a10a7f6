#include "cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "functions.h"
#include "support.h"

namespace ops {
namespace {

constexpr int64_t kChunk = 1024;  // numbers that are summed in float32
constexpr float kNone = -std::numeric_limits<float>::infinity();

// NaN are passed over.
float maximum(const float* x, int64_t count) {
  Lanes most[kParts];
  std::fill(most, most + kParts, lanes(kNone));
  for_lanes(count, [&](int64_t j, auto extent, int k) { most[k] = max(most[k], load(x + j, extent, kNone)); });
  float each[kLanes];
  store(max(max(most[0], most[1]), max(most[2], most[3])), each);
  return *std::max_element(each, each + kLanes);
}

// Sum of e^(x - largest); NaN where an x is.
double sum_of_exponentials(const float* x, int64_t count, float largest) {
  double total = 0;
  for (int64_t first = 0; first < count; first += kChunk) {
    Sum sum;
    for_lanes(std::min(kChunk, count - first), [&](int64_t j, auto extent, int k) {
      sum.part[k] += exp_negative(load(x + first + j, extent, kNone) - largest);
    });
    total += sum.total();
  }
  return total;
}

}  // namespace

int64_t wrong_label(const Scores& s) {
  for (int64_t row = 0; row < s.rows; ++row) {
    const int64_t label = s.labels[row];
    if (label != s.ignored && (label < 0 || label >= s.columns)) return row;
  }
  return -1;
}

void cross_entropy(const Scores& s, float* loss, float* log_sum, int64_t* best) {
  parallel_for(s.rows, [&](int64_t row) {
    const float* x = s.values + row * s.columns;
    const float largest = maximum(x, s.columns);
    const int64_t found = std::find(x, x + s.columns, largest) - x;
    best[row] = found < s.columns ? found : 0;  // NaN alone
    log_sum[row] = static_cast<float>(largest + std::log(sum_of_exponentials(x, s.columns, largest)));
    loss[row] = s.labels[row] == s.ignored ? 0.0f : log_sum[row] - x[s.labels[row]];
  });
}

void cross_entropy_gradient(const Scores& s, const float* log_sum, const float* dloss, float* dscores) {
  parallel_for(s.rows, [&](int64_t row) {
    const float* x = s.values + row * s.columns;
    float* dx = dscores + row * s.columns;
    if (s.labels[row] == s.ignored) {
      std::fill(dx, dx + s.columns, 0.0f);
      return;
    }
    const float shift = log_sum[row], factor = dloss[row];
    for_lanes(s.columns, [&](int64_t j, auto extent, int) {
      store(exp_negative(load(x + j, extent) - shift) * factor, dx + j, extent);
    });
    dx[s.labels[row]] -= factor;
  });
}

}  // namespace ops
