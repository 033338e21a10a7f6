#include "process_segment.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

constexpr double kSilence = 0.5;   // seconds of waiting between looks at the others
constexpr double kLongest = 1800;  // seconds of waiting; a launcher ends a job whose process has died long before

using Clock = std::chrono::steady_clock;

bool is_running(pid_t pid) {
  if (pid == 0) return true;  // it has not come so far
  if (kill(pid, 0) != 0 && errno == ESRCH) return false;
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line)) return true;
  const size_t end = line.rfind(')');  // a name may have blanks
  return end == std::string::npos || end + 2 >= line.size() || (line[end + 2] != 'Z' && line[end + 2] != 'X');
}

struct Opened {
  explicit Opened(const Place& place) : segment(place) {}
  Segment segment;
  bool broken = false;
};

}  // namespace

size_t segment_bytes(int processes) {
  return sizeof(Segment::State) * processes + Segment::kBuffers * (processes + 1) * Segment::kPiece * sizeof(float);
}

Segment::Segment(const Place& place)
    : rank_(place.rank), processes_(place.processes), bytes_(segment_bytes(place.processes)) {
  struct stat found;
  if (rank_ < 0 || rank_ >= processes_ || fstat(place.file, &found) != 0 ||
      static_cast<size_t>(found.st_size) < bytes_) {
    throw std::runtime_error("the memory of the processes is not theirs");
  }
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, place.file, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("the memory of the processes cannot be opened");
  states_ = static_cast<State*>(memory);
  slots_ = reinterpret_cast<float*>(static_cast<char*>(memory) + sizeof(State) * processes_);
  states_[rank_].pid.store(getpid());
}

Segment::~Segment() { munmap(states_, bytes_); }

void Segment::wait_for_all(Stage stage, uint64_t count) const {
  for (int r = 0; r < processes_; ++r) wait_for(r, stage, count);
}

// A short wait spins; a longer one leaves the core to others.
void Segment::wait_for(int other, Stage stage, uint64_t count) const {
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

void Segment::check_counts(uint64_t first_piece, int64_t count) const {
  wait_for_all(kPut, first_piece + 1);
  for (int r = 0; r < processes_; ++r) {
    const int64_t theirs = states_[r].count.load();
    if (theirs == count) continue;
    throw std::runtime_error("process " + std::to_string(r) + " has " + std::to_string(theirs) + " numbers, process " +
                             std::to_string(rank_) + " has " + std::to_string(count));
  }
}

void Segment::meet() {
  const uint64_t count = states_[rank_].done[kMet].load(std::memory_order_relaxed) + 1;
  set_done(kMet, count);
  wait_for_all(kMet, count);
}

void with_segment(const Place& place, const std::function<void(Segment&)>& work) {
  static std::mutex mutex;
  static std::map<int, std::unique_ptr<Opened>> all;
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Opened>& opened = all[place.file];
  if (!opened) opened = std::make_unique<Opened>(place);
  if (opened->broken) throw std::runtime_error("an earlier sum over the processes failed");
  opened->broken = true;  // until `work` is done
  work(opened->segment);
  opened->broken = false;
}

}  // namespace ops
