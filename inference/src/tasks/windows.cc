#include "tasks/windows.h"

#include <algorithm>

namespace ernie {

std::vector<Window> cut_windows(std::size_t length, std::size_t room, std::size_t stride) {
  std::vector<Window> windows;
  for (std::size_t start = 0;;) {
    const std::size_t size = std::min(length - start, room);
    windows.push_back({start, size});
    if (start + size >= length) return windows;
    start += std::min(size, stride);
  }
}

std::vector<std::size_t> best_windows(const std::vector<Window>& windows, std::size_t length) {
  std::vector<std::size_t> best(length, 0);
  std::vector<double> scores(length, -1.0);
  for (std::size_t number = 0; number < windows.size(); ++number) {
    const auto [start, size] = windows[number];
    for (std::size_t i = 0; i < size; ++i) {
      const double score = static_cast<double>(std::min(i, size - 1 - i)) + 0.01 * static_cast<double>(size);
      if (score > scores[start + i]) {
        scores[start + i] = score;
        best[start + i] = number;
      }
    }
  }
  return best;
}

}  // namespace ernie
