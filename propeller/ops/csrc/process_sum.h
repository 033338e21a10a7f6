// Sums of arrays over the processes of one machine, through memory that they share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ops {

// Bytes of the memory that so many processes share.
size_t segment_bytes(int processes);

// Adds up `count` numbers over all processes, in the order of their ranks: the same bits in all of them. Every process
// makes the same calls with the same counts, in the same order. `sums` may be `values`.
//
// file: number of an open file of `segment_bytes`, the same file in all processes, zeros at first.
// Throws std::runtime_error where another process has ended or gives another count, and on each call after that.
void sum_over_processes(int file, int rank, int processes, const float* values, float* sums, int64_t count);

}  // namespace ops
