#include "cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "support.h"
#include "vector.h"

namespace ops {
namespace {

constexpr int64_t kLanes = 64;     // independent maxima, or they would wait for each other
constexpr int64_t kChunk = 1024;  // numbers that are summed in float32

float maximum(const float* x, int64_t count) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
#pragma omp simd
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  float result = *std::max_element(lanes, lanes + kLanes);
  for (; i < count; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// Sum of e^(x - largest); NaN where an x is.
double sum_of_exponentials(const float* x, int64_t count, float largest) {
  double total = 0;
  for (int64_t first = 0; first < count; first += kChunk) {
    const int64_t end = std::min(first + kChunk, count);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = first; i < end; ++i) sum += exp_negative(x[i] - largest);
    total += sum;
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
#pragma omp simd
    for (int64_t i = 0; i < s.columns; ++i) dx[i] = exp_negative(x[i] - shift) * factor;
    dx[s.labels[row]] -= factor;
  });
}

}  // namespace ops
