// How long batches took.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <vector>

namespace ernie {

// Safe to share among threads.
class Latencies {
 public:
  void add(double seconds, std::size_t rows) {
    const std::lock_guard<std::mutex> lock(mutex_);
    batches_.push_back(seconds);
    rows_ += rows;
    seconds_ += seconds;
  }

  std::size_t rows() const { return rows_; }
  double seconds() const { return seconds_; }

  void print(std::FILE* to) {
    std::sort(batches_.begin(), batches_.end());
    const auto share = [&](double part) {
      return batches_.empty() ? 0.0 : 1e3 * batches_[static_cast<std::size_t>(part * static_cast<double>(batches_.size() - 1))];
    };
    const double each = batches_.empty() ? 0.0 : static_cast<double>(rows_) / static_cast<double>(batches_.size());
    std::fprintf(to, "%zu batches of %.1f rows: median %.2f ms, 90%% %.2f ms, 99%% %.2f ms, longest %.2f ms\n",
                 batches_.size(), each, share(0.5), share(0.9), share(0.99), share(1));
  }

 private:
  std::mutex mutex_;
  std::vector<double> batches_;
  std::size_t rows_ = 0;
  double seconds_ = 0;
};

}  // namespace ernie
