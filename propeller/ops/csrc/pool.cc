#include "pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

#include "support.h"

namespace ops {
namespace {

constexpr size_t kPage = 4096, kGrowth = size_t{64} << 20;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kLarge = SIZE_MAX;  // a sanitizer watches the blocks of the C library
#else
constexpr size_t kLarge = size_t{1} << 16;
#endif

class Pool {
 public:
  void* take(size_t bytes) {
    const size_t size = whole_pages(bytes);
    std::lock_guard<std::mutex> lock(mutex_);
    auto hole = holes_.rbegin();
    while (hole != holes_.rend() && hole->second < size) ++hole;
    auto found = hole == holes_.rend() ? grow(size) : std::prev(hole.base());
    in_use_ += size;
    found->second -= size;
    char* const place = found->first + found->second;
    if (found->second == 0) holes_.erase(found);
    return place;
  }

  void give_back(void* place, size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    in_use_ -= whole_pages(bytes);
    add(static_cast<char*>(place), whole_pages(bytes));
  }

  size_t in_use() {
    std::lock_guard<std::mutex> lock(mutex_);
    return in_use_;
  }

 private:
  using Holes = std::map<char*, size_t>;  // begin and size, none beside another

  static size_t whole_pages(size_t bytes) { return static_cast<size_t>(round_up(bytes, kPage)); }

  Holes::iterator add(char* begin, size_t size) {
    auto hole = holes_.emplace(begin, size).first;
    const auto next = std::next(hole);
    if (next != holes_.end() && begin + size == next->first) {
      hole->second += next->second;
      holes_.erase(next);
    }
    if (hole == holes_.begin()) return hole;
    const auto before = std::prev(hole);
    if (before->first + before->second != begin) return hole;
    before->second += hole->second;
    holes_.erase(hole);
    return before;
  }

  // The system puts new pages below the last ones, where it can.
  Holes::iterator grow(size_t size) {
    for (const size_t asked : {std::max(size, kGrowth), size}) {
      void* place = mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (place == MAP_FAILED) continue;
      madvise(place, asked, MADV_HUGEPAGE);  // where the system has none, small pages do
      return add(static_cast<char*>(place), asked);
    }
    throw NoMemory(size);
  }

  std::mutex mutex_;
  Holes holes_;
  size_t in_use_ = 0;
};

// For the life of the process: tensors may be given back while it ends.
Pool& pool() {
  static Pool& value = *new Pool;
  return value;
}

}  // namespace

void* take(size_t bytes) {
  if (bytes >= kLarge) return pool().take(bytes);
  void* place = std::aligned_alloc(64, static_cast<size_t>(round_up(bytes, 64)));
  if (place == nullptr) throw NoMemory(bytes);
  return place;
}

void give_back(void* place, size_t bytes) noexcept {
  if (bytes >= kLarge) {
    pool().give_back(place, bytes);
  } else {
    std::free(place);
  }
}

size_t pool_in_use() { return pool().in_use(); }

}  // namespace ops
