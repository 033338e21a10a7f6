#include "shared_weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>

#include "layout.h"
#include "share.h"

namespace ops {
namespace {

std::atomic<SharedWeights*> in_use{nullptr};

}  // namespace

SharedWeights* weights_in_use() { return in_use.load(); }
void use_weights(SharedWeights* weights) { in_use.store(weights); }

SharedWeights::~SharedWeights() {
  if (memory_ != nullptr) munmap(memory_, bytes_);
}

int64_t SharedWeights::Factor::size() const { return packed_size(depth(), transposed ? rows : columns); }

// Whether number (i, j) of a part is in its place.
bool SharedWeights::Factor::holds(size_t part, int64_t i, int64_t j) const {
  const int64_t row = transposed ? static_cast<int64_t>(part) * columns + j : i, column = transposed ? i : j;
  const uint32_t pair = data[column / kPackColumns * packed_size(depth(), kPackColumns) + row / 2 * kPackColumns +
                             column % kPackColumns];
  uint32_t number = 0;
  to_bfloat16(parts[part] + i * columns + j, 1, reinterpret_cast<bfloat16*>(&number));  // which copies bytes
  return (row % 2 ? pair >> 16 : pair & 0xffff) == number;
}

// Some numbers of each part. Whoever changes a parameter must say so; if somebody does not, this mostly sees it.
bool SharedWeights::Factor::looks_right() const {
  constexpr int64_t kLooks = 8;
  for (size_t part = 0; part < parts.size(); ++part) {
    for (int64_t k = 0; k < kLooks; ++k) {
      if (!holds(part, (2 * k + 1) * rows / (2 * kLooks), (k * 5 % kLooks) * columns / kLooks)) return false;
    }
  }
  return true;
}

const uint32_t* SharedWeights::find(const std::vector<const float*>& matrices, int64_t rows, int64_t columns,
                                    bool transposed) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (planned_ && !valid_) return nullptr;
  const auto found = factors_.find({matrices, transposed});
  if (found == factors_.end()) {
    const bool fits = rows % kRowsTogether == 0 && columns % kPackRows == 0 && rows > 0 && columns > 0;
    if (!planned_ && fits) factors_[{matrices, transposed}] = {matrices, rows, columns, transposed};
    return nullptr;
  }
  const Factor& factor = found->second;
  if (!planned_ || factor.rows != rows || factor.columns != columns || !factor.looks_right()) return nullptr;
  ++found_;
  return factor.data;
}

void SharedWeights::plan(const std::vector<Parameter>& trained) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (planned_) return;
  planned_ = true;
  trained_ = trained;
  std::map<const float*, int64_t> numbers;
  for (size_t i = 0; i < trained.size(); ++i) numbers[trained[i].values] = static_cast<int64_t>(i);
  const auto is_part = [&](const Factor& factor, const float* values) {
    const auto found = numbers.find(values);
    if (found == numbers.end()) return false;
    const Parameter& parameter = trained[found->second];
    return parameter.rows == factor.rows && parameter.columns == factor.columns;
  };
  // In the order of the parameters, which all processes have, not in that of addresses.
  std::map<std::pair<std::vector<int64_t>, bool>, Factor*> ordered;
  for (auto& [key, factor] : factors_) {
    std::vector<int64_t> order;
    for (const float* part : factor.parts) {
      if (is_part(factor, part)) order.push_back(numbers[part]);
    }
    if (order.size() == factor.parts.size()) ordered[{order, factor.transposed}] = &factor;
  }
  uses_.resize(trained.size());
  std::map<Key, Factor> chosen;
  for (const auto& [key, factor] : ordered) {
    Factor& own = chosen[{factor->parts, factor->transposed}] = *factor;
    for (size_t part = 0; part < own.parts.size(); ++part) {
      uses_[key.first[part]].push_back({&own, static_cast<int64_t>(part)});
      mark_ = (mark_ * 31 + key.first[part] * 2 + own.transposed) % (int64_t{1} << 40);
    }
    own.place = bytes_;
    bytes_ += own.size() * static_cast<int64_t>(sizeof(uint32_t));
  }
  factors_.swap(chosen);
}

bool SharedWeights::open(int file) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (memory_ != nullptr || bytes_ == 0) return false;
  void* const memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) return false;
  memory_ = memory;
  for (auto& [key, factor] : factors_) {
    factor.data = reinterpret_cast<uint32_t*>(static_cast<char*>(memory) + factor.place);
  }
  return true;
}

void SharedWeights::pack(size_t i, int64_t row, int64_t rows) const {
  if (memory_ == nullptr) return;
  const auto& [values, all, columns] = trained_[i];
  for (const auto& [factor, part] : uses_[i]) {
    Tile tile{row, rows, 0, columns, const_cast<float*>(values) + row * columns, columns, 0};  // read only
    if (factor->transposed) {
      tile.column = part * columns;
      store_packed_transposed(tile, factor->depth(), factor->data);
    } else {
      store_packed(tile, factor->depth(), true, factor->data);
    }
  }
}

}  // namespace ops
