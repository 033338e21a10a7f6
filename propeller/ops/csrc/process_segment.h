// Memory that the processes of one machine share: slots for numbers on their way, and how far each process has come.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace ops {

// Where a process finds it. file: number of an open file of `segment_bytes`, the same file in all processes, zeros at
// first.
struct Place {
  int file, rank, processes;
};

// Bytes of the memory that so many processes share.
size_t segment_bytes(int processes);

class Segment {
 public:
  // Numbers of a slot, and slots that are in use one after the other.
  static constexpr int64_t kPiece = 16384;
  static constexpr uint64_t kBuffers = 16;

  // What a process has done with a piece: it has put its numbers into its slot, it has added up its share of them, it has
  // taken all it needs. And how often it has met the others.
  enum Stage { kPut, kAdded, kTaken, kMet, kStages };

  explicit Segment(const Place& place);  // throws std::runtime_error where it cannot be opened
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment();

  int rank() const { return rank_; }
  int processes() const { return processes_; }

  // Pieces that this process is through with, ever.
  uint64_t pieces() const { return states_[rank_].done[kTaken].load(std::memory_order_relaxed); }

  // One for each process, then one for results, each of `kPiece` numbers. A piece may be put once `wait_for_room` returns.
  float* slot(uint64_t piece, int number) const {
    return slots_ + ((piece % kBuffers) * (processes_ + 1) + number) * kPiece;
  }
  void wait_for_room(uint64_t piece) const {
    if (piece >= kBuffers) wait_for_all(kTaken, piece - kBuffers + 1);
  }

  void set_done(Stage stage, uint64_t count) { states_[rank_].done[stage].store(count, std::memory_order_release); }

  // Until every process has done `count` pieces.
  void wait_for_all(Stage stage, uint64_t count) const;

  // Says what this process is about to do, before its first piece; and, once that is put, whether the others do the same:
  // throws std::runtime_error where they do not. What was said must stay until all others have added up a piece.
  void say_count(int64_t count) { states_[rank_].count.store(count); }
  void check_counts(uint64_t first_piece, int64_t count) const;

  // Until all processes are here.
  void meet();

 private:
  // What the others see of a process.
  struct alignas(64) State {
    std::atomic<uint64_t> done[kStages];
    std::atomic<int64_t> count;  // of the call that has begun: the same in all processes
    std::atomic<int32_t> pid;
  };
  static_assert(std::atomic<uint64_t>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);
  friend size_t segment_bytes(int processes);

  void wait_for(int other, Stage stage, uint64_t count) const;

  const int rank_, processes_;
  const size_t bytes_;
  State* states_;
  float* slots_;
};

// Calls `work` with the segment of a place, which stays open for the life of the process. Throws what `work` throws, and
// std::runtime_error on each call after that: nobody knows how far the others have come.
void with_segment(const Place& place, const std::function<void(Segment&)>& work);

}  // namespace ops
