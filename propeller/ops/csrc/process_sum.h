// Sums of arrays over the processes of one machine, through memory that they share. Every process makes the same calls with
// the same counts, in the same order. All throw std::runtime_error where another process has ended or gives other counts.
#pragma once

#include <cstdint>
#include <vector>

#include "process_segment.h"

namespace ops {

// Adds up `count` numbers over all processes, in the order of their ranks: the same bits in all of them. `sums` may be
// `values`.
void sum_over_processes(const Place& place, const float* values, float* sums, int64_t count);

// `size` numbers, of which shares have multiples of `unit` (share.h).
struct Numbers {
  float* values;
  int64_t size, unit;
};

// Adds up arrays over all processes in the same order, in place; each process gets the sums of its own share (share.h)
// alone. The rest stays as it is. `numbers`, one or more, are summed as by `sum_over_processes`, in place, to the last of
// them the squares of all sums in all shares; squares are summed up in float64, in an order that depends on their number
// and the number of processes alone.
void sum_own_share(const Place& place, const std::vector<Numbers>& arrays, const Numbers& numbers);

}  // namespace ops
