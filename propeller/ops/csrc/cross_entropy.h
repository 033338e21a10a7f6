// Softmax and cross entropy of rows of scores, forward and backward, on plain arrays.
#pragma once

#include <cstdint>

namespace ops {

struct Scores {
  int64_t rows, columns;
  const float* values;    // [rows, columns]
  const int64_t* labels;  // [rows], a column each, or `ignored`
  int64_t ignored;
};

// The first row whose label is neither a column nor ignored; -1: there is none.
int64_t wrong_label(const Scores& scores);

// loss [rows]: log_sum - the label's score, 0 where the label is ignored; log_sum [rows]: log of the sum of e^score;
// best [rows]: column of the largest score, the first of several.
void cross_entropy(const Scores& scores, float* loss, float* log_sum, int64_t* best);

// Gradient of the scores [rows, columns]: (softmax - 1 at the label) * dloss; 0 where the label is ignored.
void cross_entropy_gradient(const Scores& scores, const float* log_sum, const float* dloss, float* dscores);

}  // namespace ops
