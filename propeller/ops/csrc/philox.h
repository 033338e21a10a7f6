// Dropout masks that are computed, not stored: random numbers by their position in a tensor.
//
// The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, Parallel random numbers: as easy as 1, 2, 3): four
// words of 32 bits follow from a key of 64 bits and a counter of 128. Here the key is a seed, drawn once for each run of
// a program, and the counter is (element / 4: low word, high word, number of the dropout in the program, 0). So a mask
// is the same for any number of threads, and the backward pass has it again from the seed.
#pragma once

#include <cstdint>

namespace ops {

struct Dropout {
  uint32_t threshold;  // an element is dropped when its bits are below: probability * 2^32; 0: nothing is dropped
  float scale;         // of what is kept: 1 / (1 - probability)
  uint64_t seed;
  uint32_t site;  // number of the dropout in its program
};

// The `Dropout` of a probability, 0 <= p < 1.
Dropout dropout_of(float probability, int64_t seed, int64_t site);

// out[i] <- what element `first` + i is multiplied with, 0 or `scale`, 0 <= i < count. `first` is a multiple of 4.
void keep_factors(const Dropout& dropout, uint64_t first, int64_t count, float* out);

// out[i * stride] <- that of element `first` + i * step, 0 <= i < count. `first` and `step` are multiples of 4.
void keep_factors_apart(const Dropout& dropout, uint64_t first, int64_t step, int64_t count, float* out,
                        int64_t stride);

}  // namespace ops
