// Overlapping windows over a text that is longer than a model can read, and which of them knows a token best.
#pragma once

#include <cstddef>
#include <vector>

namespace ernie {

struct Window {
  std::size_t start, size;
};

// Windows over `length` tokens: each as long as the rest and `room` allow, the next one `stride` tokens later. No token
// gives one empty window.
std::vector<Window> cut_windows(std::size_t length, std::size_t room, std::size_t stride);

// For each token the number of the window that shows most of its context; the first of equals.
std::vector<std::size_t> best_windows(const std::vector<Window>& windows, std::size_t length);

// The sum of some numbers, added in the order of NumPy, so that the last digits are the same.
template <typename Real>
Real pairwise_sum(const Real* values, std::size_t count) {
  if (count < 8) {
    Real sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += values[i];
    return sum;
  }
  if (count > 128) {
    const std::size_t half = count / 2 - count / 2 % 8;
    return pairwise_sum(values, half) + pairwise_sum(values + half, count - half);
  }
  Real parts[8];
  std::size_t i = 0;
  for (; i < 8; ++i) parts[i] = values[i];
  for (; i + 8 <= count; i += 8) {
    for (std::size_t k = 0; k < 8; ++k) parts[k] += values[i + k];
  }
  Real sum = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]));
  for (; i < count; ++i) sum += values[i];
  return sum;
}

}  // namespace ernie
