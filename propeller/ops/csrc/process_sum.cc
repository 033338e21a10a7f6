#include "process_sum.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace ops {
namespace {

// An array is divided into pieces that stay in the cache. Each goes through three stages: every process puts its numbers
// into its own slot; every process adds up its share of the piece over all slots; every process takes the whole. The stages of neighbouring pieces overlap, so that nobody waits for every piece.
constexpr int64_t kPiece = 16384;
constexpr uint64_t kBuffers = 4;
constexpr int kStages = 3;
constexpr size_t kLine = 64;
constexpr double kSilence = 0.5;    // seconds of waiting between looks at the others
constexpr double kLongest = 1800;  // seconds of waiting; a launcher ends a job whose process has died long before

using Clock = std::chrono::steady_clock;

// What the others see of a process: how many pieces it has put, added up and taken, ever.
struct alignas(kLine) State {
  std::atomic<uint64_t> done[kStages];
  std::atomic<int64_t> count;  // of the call that has begun: the same in all processes
  std::atomic<int32_t> pid;
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);

bool is_running(pid_t pid) {
  if (pid == 0) return true;  // it has not come so far
  if (kill(pid, 0) != 0 && errno == ESRCH) return false;
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return true;
  const size_t end = line.rfind(')');  // a name may have blanks
  return end == std::string::npos || end + 2 >= line.size() || (line[end + 2] != 'Z' && line[end + 2] != 'X');
}

class Segment {
 public:
  Segment(int file, int rank, int processes) : rank_(rank), processes_(processes), bytes_(segment_bytes(processes)) {
    struct stat found;
    if (rank < 0 || rank >= processes || fstat(file, &found) != 0 || static_cast<size_t>(found.st_size) < bytes_) {
      throw std::runtime_error("the memory of the processes is not theirs");
    }
    void* place = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (place == MAP_FAILED) throw std::runtime_error("the memory of the processes cannot be opened");
    states_ = static_cast<State*>(place);
    slots_ = reinterpret_cast<float*>(static_cast<char*>(place) + sizeof(State) * processes);
    states_[rank].pid.store(getpid());
  }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment() { munmap(states_, bytes_); }

  void sum(const float* values, float* sums, int64_t count) {
    if (broken_) throw std::runtime_error("an earlier sum over the processes failed");
    broken_ = true;  // until this one has not
    const uint64_t first = states_[rank_].done[2], pieces = (count + kPiece - 1) / kPiece;
    const auto begin = [](uint64_t piece) { return static_cast<int64_t>(piece) * kPiece; };
    const auto size = [&](uint64_t piece) { return std::min(kPiece, count - begin(piece)); };
    states_[rank_].count.store(count);
    for (uint64_t step = 0; step < pieces + kStages - 1; ++step) {
      if (step < pieces) put(first + step, values + begin(step), size(step));
      if (step == 1) check_counts(first, count);
      if (step >= 1 && step < pieces + 1) add_up(first + step - 1, size(step - 1));
      if (step >= 2) take(first + step - 2, sums + begin(step - 2), size(step - 2));
    }
    broken_ = false;
  }

 private:
  float* slot(uint64_t piece, int number) const {
    return slots_ + ((piece % kBuffers) * (processes_ + 1) + number) * kPiece;
  }
  float* result(uint64_t piece) const { return slot(piece, processes_); }

  void put(uint64_t piece, const float* values, int64_t size) {
    if (piece >= kBuffers) wait_for_all(2, piece - kBuffers + 1);  // whoever has taken a piece needs its buffer no more
    std::copy_n(values, size, slot(piece, rank_));
    states_[rank_].done[0].store(piece + 1, std::memory_order_release);
  }

  // Once all have put their first piece, their counts are there, and stay until all have added up the last one.
  void check_counts(uint64_t first, int64_t count) {
    wait_for_all(0, first + 1);
    for (int r = 0; r < processes_; ++r) {
      const int64_t theirs = states_[r].count.load();
      if (theirs == count) continue;
      throw std::runtime_error("process " + std::to_string(r) + " has " + std::to_string(theirs) +
                               " numbers, process " + std::to_string(rank_) + " has " + std::to_string(count));
    }
  }

  void add_up(uint64_t piece, int64_t size) {
    wait_for_all(0, piece + 1);
    const int64_t begin = size * rank_ / processes_, end = size * (rank_ + 1) / processes_;
    float* sums = result(piece);
    std::copy(slot(piece, 0) + begin, slot(piece, 0) + end, sums + begin);
    for (int r = 1; r < processes_; ++r) {
      const float* values = slot(piece, r);
      for (int64_t i = begin; i < end; ++i) sums[i] += values[i];
    }
    states_[rank_].done[1].store(piece + 1, std::memory_order_release);
  }

  void take(uint64_t piece, float* sums, int64_t size) {
    wait_for_all(1, piece + 1);
    std::copy_n(result(piece), size, sums);
    states_[rank_].done[2].store(piece + 1, std::memory_order_release);
  }

  void wait_for_all(int stage, uint64_t count) {
    for (int r = 0; r < processes_; ++r) wait_for(r, stage, count);
  }

  // A short wait spins; a longer one leaves the core to others.
  void wait_for(int other, int stage, uint64_t count) {
    const std::atomic<uint64_t>& done = states_[other].done[stage];
    const auto there = [&] { return done.load(std::memory_order_acquire) >= count; };
    for (int i = 0; i < 2000; ++i) {
      if (there()) return;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
    const Clock::time_point began = Clock::now();
    double looked = 0;
    while (!there()) {
      const double waited = std::chrono::duration<double>(Clock::now() - began).count();
      if (waited < 1e-3) {
        sched_yield();
        continue;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      if (waited < looked + kSilence) continue;
      looked = waited;
      const pid_t pid = states_[other].pid.load();
      if (!is_running(pid) && !there()) {
        throw std::runtime_error("a peer is gone: process " + std::to_string(other) + " of the job, number " +
                                 std::to_string(pid) + " on this machine");
      }
      if (waited > kLongest) {
        throw std::runtime_error("a peer is silent: process " + std::to_string(other) + " of the job, for " +
                                 std::to_string(static_cast<int>(waited)) + " seconds");
      }
    }
  }

  const int rank_, processes_;
  const size_t bytes_;
  State* states_;
  float* slots_;
  bool broken_ = false;
};

}  // namespace

size_t segment_bytes(int processes) {
  return sizeof(State) * processes + kBuffers * (processes + 1) * kPiece * sizeof(float);
}

void sum_over_processes(int file, int rank, int processes, const float* values, float* sums, int64_t count) {
  static std::mutex mutex;
  static std::map<int, std::unique_ptr<Segment>> opened;  // for the life of the process, as the files are
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Segment>& segment = opened[file];
  if (!segment) segment = std::make_unique<Segment>(file, rank, processes);
  segment->sum(values, sums, count);
}

}  // namespace ops
