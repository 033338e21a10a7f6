// How many threads a loop has.
#pragma once

#include <omp.h>

#include <cstdint>

namespace ops {

// Inside, parallel regions of the calling thread have so many threads; 0: as many as before.
class Threads {
 public:
  explicit Threads(int64_t count) : before_(omp_get_max_threads()) {
    if (count > 0) omp_set_num_threads(static_cast<int>(count));
  }
  ~Threads() { omp_set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  const int before_;
};

}  // namespace ops
