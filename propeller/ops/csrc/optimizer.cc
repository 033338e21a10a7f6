#include "optimizer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "support.h"

namespace ops {
namespace {

// Numbers that a thread takes at a time: enough to hide the cost of taking them, few enough to share out one tensor.
constexpr int64_t kBlock = 1 << 15, kRowsAtOnce = 64;

// Sums of a block that run side by side. Left to a compiler, their order might depend on where the block lies in memory.
constexpr int64_t kSums = 32;

double square(float x) { return static_cast<double>(x) * x; }

struct Block {
  size_t tensor;
  int64_t first, count;
};

int64_t unit_of(const Gradient&) { return 1; }
int64_t unit_of(const Trained& tensor) { return tensor.unit; }

template <typename Tensor>
std::vector<Block> blocks_of(const std::vector<Tensor>& tensors) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int64_t unit = unit_of(tensors[i]), size = std::max<int64_t>(kBlock / unit, 1) * unit;
    for (int64_t first = 0; first < tensors[i].size; first += size)
      blocks.push_back({i, first, std::min(size, tensors[i].size - first)});
  }
  return blocks;
}

// What of a tensor's update is the same for all of its numbers.
struct Step {
  float decay, length, floor;  // p <- p - decay p - length moment1 / (sqrt(moment2) + floor)
};

Step step_of(const AdamW& s, const Trained& t) {
  const float rate = s.learning_rate * t.rate, root = std::sqrt(1.0f - *t.beta2_power);
  return {rate * t.decay, rate * (root / (1.0f - *t.beta1_power)), s.epsilon * root};
}

// Its numbers are copied: behind references compilers fear that a store changes them, and do not vectorize.
void update(const AdamW s, const Step step, const Trained& t, int64_t first, int64_t count) {
  float *p = t.values + first, *moment1 = t.moment1 + first, *moment2 = t.moment2 + first;
  const float* gradient = t.gradient + first;
  const float factor = s.factor, keep1 = s.beta1, keep2 = s.beta2, rest1 = 1.0f - keep1, rest2 = 1.0f - keep2;
  const auto [decay, length, floor] = step;
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const float g = gradient[i] * factor;
    const float m1 = keep1 * moment1[i] + rest1 * g;
    const float m2 = keep2 * moment2[i] + rest2 * g * g;
    const float decayed = p[i] - decay * p[i];
    moment1[i] = m1;
    moment2[i] = m2;
    p[i] = decayed - length * (m1 / (std::sqrt(m2) + floor));
  }
}

// Finds out which rows have moments. A row without any owes nothing but decay, whether it has had a gradient or not.
void look_up(const Trained& t, int64_t width, const RowState& state) {
  parallel_for(ceil_div(state.rows, kRowsAtOnce), [&](int64_t block) {
    for (int64_t r = block * kRowsAtOnce; r < std::min(state.rows, (block + 1) * kRowsAtOnce); ++r) {
      const auto moves = [&](const float* moment) {
        return std::any_of(moment + r * width, moment + (r + 1) * width, [](float x) { return x != 0; });
      };
      state.touched()[r] = moves(t.moment1) || moves(t.moment2) ? 1 : 0;
    }
  });
  state.numbers[0] = 1;
}

// A row of a table that is updated: its number, and that of its gradient, -1 where that is 0.
struct Row {
  int64_t row, gradient;
};

// The rows that have had a gradient, or have one now.
std::vector<Row> moving_rows(const RowState& state, const int64_t* ids, int64_t count) {
  Scratch scratch;
  auto* numbers = scratch.get<int64_t>(state.rows);
  std::fill(numbers, numbers + state.rows, -1);
  for (int64_t i = 0; i < count; ++i) numbers[ids[i]] = i;
  std::vector<Row> rows;
  for (int64_t r = 0; r < state.rows; ++r) {
    if (numbers[r] >= 0 || state.touched()[r] != 0) rows.push_back({r, numbers[r]});
  }
  return rows;
}

// Of the rows that did not move, all others.
void add_decay(const RowState& state, float decay, int64_t width, float* table) {
  if (decay == 0) return;
  const int64_t owed = state.owed();
  state.numbers[1 + owed] = decay;
  state.numbers[0] = static_cast<float>(owed + 2);
  if (owed + 1 == state.capacity) pay_all(state, width, table);
}

}  // namespace

double sum_of_squares(const float* x, int64_t count) {
  double parts[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= count; i += kSums)
#pragma omp simd
    for (int64_t j = 0; j < kSums; ++j) parts[j] += square(x[i + j]);
  for (int64_t j = 0; i + j < count; ++j) parts[j] += square(x[i + j]);
  return std::accumulate(parts, parts + kSums, 0.0);
}

double sum_of_squares(const std::vector<Gradient>& gradients) {
  const std::vector<Block> blocks = blocks_of(gradients);
  std::vector<double> sums(blocks.size());
  parallel_for_unequal(blocks.size(), [&](int64_t b) {
    const auto [tensor, first, count] = blocks[b];
    sums[b] = sum_of_squares(gradients[tensor].values + first, count);
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

void adamw(const AdamW& s, const std::vector<Trained>& tensors,
           const std::function<void(size_t, int64_t, int64_t)>& updated) {
  std::vector<Step> steps;
  for (const Trained& t : tensors) steps.push_back(step_of(s, t));
  const std::vector<Block> blocks = blocks_of(tensors);
  parallel_for_unequal(blocks.size(), [&](int64_t b) {
    const auto [tensor, first, count] = blocks[b];
    update(s, steps[tensor], tensors[tensor], first, count);
    if (updated) updated(tensor, first, count);
  });
  for (const Trained& t : tensors) {
    *t.beta1_power *= s.beta1;
    *t.beta2_power *= s.beta2;
  }
}

void adamw_rows(const AdamW& s, const Trained& t, int64_t width, const int64_t* ids, int64_t count,
                const RowState& state) {
  if (!state.known()) look_up(t, width, state);
  const Step step = step_of(s, t);
  const std::vector<Row> rows = moving_rows(state, ids, count);
  const std::vector<float> zeros(width);
  const int64_t size = static_cast<int64_t>(rows.size());
  parallel_for_unequal(ceil_div(size, kRowsAtOnce), [&](int64_t block) {
    for (int64_t i = block * kRowsAtOnce; i < std::min(size, (block + 1) * kRowsAtOnce); ++i) {
      const auto [row, gradient] = rows[i];
      const int64_t at = row * width;
      float& touched = state.touched()[row];
      if (touched == 0) pay(state, width, t.values + at);
      touched = 1;
      Trained own = t;
      own.values += at;
      own.moment1 += at;
      own.moment2 += at;
      own.gradient = gradient < 0 ? zeros.data() : t.gradient + gradient * width;
      update(s, step, own, 0, width);
    }
  });
  add_decay(state, step.decay, width, t.values);
  *t.beta1_power *= s.beta1;
  *t.beta2_power *= s.beta2;
}

}  // namespace ops
