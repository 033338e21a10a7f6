// What all operators share: memory for intermediate results, loops over threads, errors.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pool.h"

namespace ops {

// Memory that the system refuses.
class NoMemory : public std::bad_alloc {
 public:
  explicit NoMemory(size_t bytes) : text_("no " + std::to_string(bytes >> 20) + " MB for intermediate results") {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  const std::string text_;
};

// Memory for what an operator needs while it runs, one for each purpose. What grows with the batch is given back when the
// call ends; what one row or tile takes is `thread_local`, kept for the next.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { keep_at_most(0); }

  // At least `count` elements, 64-byte aligned, not initialised. What was there before is lost.
  template <typename T>
  T* get(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (bytes > size_) {
      keep_at_most(0);
      data_ = take(bytes);
      size_ = bytes;
    }
    return static_cast<T*>(data_);
  }

  // Gives back what is larger.
  void keep_at_most(size_t bytes) {
    if (size_ <= bytes) return;
    give_back(data_, size_);
    data_ = nullptr;
    size_ = 0;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Ends the use of a scratch that a thread has for all its calls: what is small stays for the next one.
class Trim {
 public:
  explicit Trim(Scratch& scratch) : scratch_(scratch) {}
  ~Trim() { scratch_.keep_at_most(kKeptBytes); }

 private:
  static constexpr size_t kKeptBytes = 1 << 20;
  Scratch& scratch_;
};

// The first error of several threads: an exception must not leave a parallel region.
class FirstError {
 public:
  template <typename Work>
  void guard(Work&& work) noexcept {
    try {
      work();
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr error_;
};

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// `work(i)` for 0 <= i < count, neighbours on one thread. What is computed does not depend on the number of threads.
template <typename Work>
void parallel_for(int64_t count, Work&& work) {
  FirstError error;
#pragma omp parallel for schedule(static) if (count > 1)
  for (int64_t i = 0; i < count; ++i) error.guard([&] { work(i); });
  error.rethrow();
}

// The same, each on the thread that is free next: for pieces of work of different size, the largest first, and where a
// thread that is disturbed must not let others wait.
template <typename Work>
void parallel_for_unequal(int64_t count, Work&& work) {
  FirstError error;
#pragma omp parallel for schedule(monotonic : dynamic) if (count > 1)
  for (int64_t i = 0; i < count; ++i) error.guard([&] { work(i); });
  error.rethrow();
}

// The rows of a matrix as `parallel_for` over blocks of so many rows shares them out.
class RowThreads {
 public:
  static constexpr int64_t kRows = 32;

  explicit RowThreads(int64_t rows) : RowThreads(ceil_div(rows, kRows), omp_get_max_threads()) {}

  int64_t threads() const { return threads_; }

  // The thread that has a row's block.
  int64_t of(int64_t row) const {
    const int64_t block = row / kRows, larger = more_ * (each_ + 1);
    return block < larger ? block / (each_ + 1) : more_ + (block - larger) / each_;
  }

 private:
  RowThreads(int64_t blocks, int64_t threads) : threads_(threads), each_(blocks / threads), more_(blocks % threads) {}

  int64_t threads_, each_, more_;  // the first `more_` threads have a block more than `each_`
};

// `work(i)` for pieces of work of different size, each on the thread that `thread_of(i)` names, or on one that has nothing
// left to do. Rows that one operation after the other reads and writes stay in a core's caches: another core's are far,
// the more so where the two share none.
template <typename ThreadOf, typename Work>
void parallel_for_near(int64_t count, int64_t threads, ThreadOf&& thread_of, Work&& work) {
  struct alignas(64) Queue {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  std::vector<Queue> queues(threads);
  for (int64_t i = 0; i < count; ++i) ++queues[thread_of(i)].end;
  std::vector<int64_t> places(threads), pieces(count);  // of all queues, one behind the other
  for (int64_t t = 1; t < threads; ++t) {
    queues[t].next = places[t] = queues[t - 1].end;
    queues[t].end += places[t];
  }
  for (int64_t i = 0; i < count; ++i) pieces[places[thread_of(i)]++] = i;
  FirstError error;
#pragma omp parallel if (count > 1)
  for (int64_t k = 0, own = omp_get_thread_num(); k < threads; ++k) {
    Queue& queue = queues[(own + k) % threads];
    for (int64_t at = 0; (at = queue.next++) < queue.end;) error.guard([&] { work(pieces[at]); });
  }
  error.rethrow();
}

}  // namespace ops
