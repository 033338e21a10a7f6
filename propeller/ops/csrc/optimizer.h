// AdamW over many tensors at once, and the norm of many gradients, on plain arrays.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "rows.h"

namespace ops {

// `size` numbers of a gradient.
struct Gradient {
  const float* values;
  int64_t size;
};

// One tensor that is trained, and its state.
struct Trained {
  int64_t size;
  float* values;
  const float* gradient;
  float *moment1, *moment2;          // [size]
  float *beta1_power, *beta2_power;  // [1], beta to the power of the update that comes
  float rate;                        // share of the learning rate
  float decay;                       // in units of the learning rate; 0: none
  int64_t unit = 1;                  // numbers that are updated together; divides `size`
};

struct AdamW {
  float beta1, beta2, epsilon, learning_rate;
  float factor;  // of every gradient
};

// Sum of the squares of `count` numbers, in float64, in an order that does not depend on where they lie.
double sum_of_squares(const float* numbers, int64_t count);

// Of all numbers. Sums of blocks are added up in one order whatever the number of threads.
double sum_of_squares(const std::vector<Gradient>& gradients);

// One update (Loshchilov, Hutter 2019, algorithm 2, in the form of Kingma, Ba 2015, section 2), g the gradient times
// `factor`, lr the learning rate times `rate`:
//   moment1 = beta1 moment1 + (1 - beta1) g,  moment2 = beta2 moment2 + (1 - beta2) g^2
//   p -= lr decay p + lr sqrt(1 - beta2^t) / (1 - beta1^t) moment1 / (sqrt(moment2) + epsilon sqrt(1 - beta2^t))
// Calls updated(number of the tensor, first, count) for each piece of it, whole units, on the thread that has updated it.
void adamw(const AdamW& settings, const std::vector<Trained>& tensors,
           const std::function<void(size_t, int64_t, int64_t)>& updated = nullptr);

// The same update of one table whose gradient has `count` rows, `ids` (each once), and is 0 elsewhere: t.gradient [count,
// width]. Rows that have had a gradient are updated; the others, whose moments are 0, will owe its decay.
void adamw_rows(const AdamW& settings, const Trained& table, int64_t width, const int64_t* ids, int64_t count,
                const RowState& state);

}  // namespace ops
