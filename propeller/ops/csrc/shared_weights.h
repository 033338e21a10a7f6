// Weights in the order that products want (layout.h), packed once for all processes of a machine: each packs the rows that
// it has just updated, while they are in its caches, into memory that all have in common.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace ops {

// A parameter that is a matrix; rows and columns 0: it is none.
struct Parameter {
  const float* values;
  int64_t rows, columns;
};

// The weights of one program.
class SharedWeights {
 public:
  SharedWeights() = default;
  SharedWeights(const SharedWeights&) = delete;
  SharedWeights& operator=(const SharedWeights&) = delete;
  ~SharedWeights();

  // Matrices [rows, columns] side by side as one right factor in bfloat16, the transpose of that if `transposed`; null: to
  // be packed by whoever asks. Until `plan` it remembers what it is asked for.
  const uint32_t* find(const std::vector<const float*>& matrices, int64_t rows, int64_t columns, bool transposed);

  // Chooses, of what it was asked for, what consists of these parameters, all of which are trained. Does nothing the
  // second time.
  void plan(const std::vector<Parameter>& trained);

  // How often something was found.
  int64_t found() const { return found_; }

  // Bytes of memory for them, 0: there is no plan or nothing in it; and a number that is the same for the same plan.
  int64_t bytes() const { return bytes_; }
  int64_t mark() const { return mark_; }

  // Maps an open file of that size, all zeros. Returns whether that could be done.
  bool open(int file);

  // Packs rows [row, row + rows) of parameter `i` of the plan, multiples of kRowsTogether (share.h).
  void pack(size_t i, int64_t row, int64_t rows) const;

  // Whether the memory holds the parameters as they are.
  void set_valid(bool valid) { valid_ = valid && memory_ != nullptr; }

 private:
  struct Factor {
    std::vector<const float*> parts;
    int64_t rows, columns;
    bool transposed;
    int64_t place = 0;  // of its memory, from the begin of all, in bytes
    uint32_t* data = nullptr;

    int64_t depth() const { return transposed ? columns * static_cast<int64_t>(parts.size()) : rows; }
    int64_t size() const;
    bool holds(size_t part, int64_t i, int64_t j) const;
    bool looks_right() const;
  };
  // A factor of which a parameter is a part.
  struct Use {
    const Factor* factor;
    int64_t part;
  };
  using Key = std::pair<std::vector<const float*>, bool>;

  std::mutex mutex_;
  std::map<Key, Factor> factors_;
  std::vector<Parameter> trained_;
  std::vector<std::vector<Use>> uses_;  // by parameter
  bool planned_ = false, valid_ = false;
  int64_t bytes_ = 0, mark_ = 0, found_ = 0;
  void* memory_ = nullptr;
};

// Those that products look into and an update fills; null: none. Set between the runs of programs.
SharedWeights* weights_in_use();
void use_weights(SharedWeights* weights);

}  // namespace ops
