#include "rows.h"

#include <algorithm>
#include <vector>

#include "lanes.h"
#include "support.h"

namespace ops {
namespace {

constexpr int64_t kTakenAtOnce = 64;    // a thread takes so many: enough to hide the cost of taking them
constexpr int64_t kSpreadAtOnce = 1 << 16;
constexpr int64_t kSummedColumns = 64;  // of a sum, on one thread

}  // namespace

std::string wrong_row(const int64_t* ids, int64_t count, int64_t rows) {
  for (int64_t i = 0; i < count; ++i) {
    if (ids[i] >= 0 && ids[i] < rows) continue;
    return "ids hold " + std::to_string(ids[i]) + " (element " + std::to_string(i) + "), expected 0 to " +
           std::to_string(rows - 1) + ": the table has " + std::to_string(rows) + " rows";
  }
  return "";
}

int64_t number_rows(const int64_t* ids, int64_t count, int64_t rows, int64_t* used, int64_t* places) {
  Scratch scratch;
  auto* numbers = scratch.get<int64_t>(rows);
  std::fill(numbers, numbers + rows, -1);
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    int64_t& number = numbers[ids[i]];
    if (number < 0) {
      number = found;
      used[found++] = ids[i];
    }
    places[i] = number;
  }
  return found;
}

// The same operations as in an update without a gradient (optimizer.cc), so that nothing shows when a row was paid.
void pay(const RowState& state, int64_t width, float* row) {
  const float* decays = state.decays();
  for (int64_t k = 0; k < state.owed(); ++k) {
    const Lanes decay = lanes(decays[k]);
    for_lanes(width, [&](int64_t j, auto extent, int) {
      const Lanes value = load(row + j, extent);
      store(value - decay * value, row + j, extent);
    });
  }
}

void copy_rows(const float* table, int64_t width, const RowState& state, const int64_t* used, int64_t count,
               float* out) {
  parallel_for(count, [&](int64_t i) {
    std::copy_n(table + used[i] * width, width, out + i * width);
    if (state.touched()[used[i]] == 0) pay(state, width, out + i * width);
  });
}

void pay_all(const RowState& state, int64_t width, float* table) {
  if (state.owed() == 0) return;
  parallel_for(ceil_div(state.rows, kTakenAtOnce), [&](int64_t block) {
    const int64_t end = std::min(state.rows, (block + 1) * kTakenAtOnce);
    for (int64_t r = block * kTakenAtOnce; r < end; ++r) {
      if (state.touched()[r] == 0) pay(state, width, table + r * width);
    }
  });
  state.numbers[0] = 1;
}

void spread_rows(const float* base, int64_t rows, int64_t width, const int64_t* ids, int64_t count, const float* values,
                 float* out) {
  const int64_t size = rows * width;
  parallel_for(ceil_div(size, kSpreadAtOnce), [&](int64_t i) {
    const int64_t first = i * kSpreadAtOnce, wide = std::min(kSpreadAtOnce, size - first);
    base == nullptr ? std::fill_n(out + first, wide, 0.0f) : std::copy_n(base + first, wide, out + first);
  });
  parallel_for(ceil_div(width, kSummedColumns), [&](int64_t block) {
    const int64_t column = block * kSummedColumns, wide = std::min(kSummedColumns, width - column);
    for (int64_t i = 0; i < count; ++i) add_to(values + i * width + column, wide, out + ids[i] * width + column);
  });
}

}  // namespace ops
