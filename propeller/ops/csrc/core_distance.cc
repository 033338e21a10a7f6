#include "core_distance.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>

namespace ops {
namespace {

constexpr int kMessages = 500, kTries = 8;
constexpr double kLongestTry = 0.01;  // seconds of a try: threads on one core wait for each other's share of its time

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Seconds of a message, there or back; below 0: it took too long.
double seconds_of_a_message() {
  std::atomic<int> last{0};  // number of the last message; below 0: the end
  double taken = -1;
#pragma omp parallel num_threads(2)
  {
    const int own = omp_get_thread_num();
    const auto start = Clock::now();
    // Thread 0 answers even messages, the first of which is there, thread 1 odd ones.
    for (int next = own; next < 2 * kMessages && omp_get_num_threads() == 2; next += 2) {
      for (int found = last; found != next && found >= 0; found = last) {
        if (seconds_since(start) > kLongestTry) last = -1;
      }
      if (last < 0) break;
      last = next + 1;
    }
    if (own == 0 && last >= 2 * kMessages - 1) taken = seconds_since(start) / (2 * kMessages);
  }
  return taken;
}

}  // namespace

double core_distance() {
  double best = -1;
  for (int i = 0; i < kTries; ++i) {
    const double taken = 1e9 * seconds_of_a_message();
    if (taken > 0 && (best < 0 || taken < best)) best = taken;
  }
  return best;
}

}  // namespace ops

extern "C" {

// For benchmarks.
double propeller_ops_core_distance() { return ops::core_distance(); }
}
