// How the numbers of arrays are shared out among processes: of each array to each process one portion, of nearly equal
// size.
#pragma once

#include <cstdint>
#include <vector>

namespace ops {

// Rows of a matrix that belong to one portion: a line of the cache holds so many numbers.
constexpr int64_t kRowsTogether = 16;

struct Share {
  int64_t rank = 0, processes = 1;

  // Of `size` numbers, where the portion begins, and how many it has. Portions are cut at multiples of `unit`, which
  // divides `size`.
  int64_t begin(int64_t size, int64_t unit) const { return size / unit * rank / processes * unit; }
  int64_t count(int64_t size, int64_t unit) const {
    return size / unit * (rank + 1) / processes * unit - begin(size, unit);
  }

  // The unit of an array of this shape: rows of a matrix, if there are enough of them.
  int64_t unit(const std::vector<int64_t>& shape) const {
    const bool matrix = processes > 1 && shape.size() == 2;
    const bool by_rows = matrix && shape[0] % kRowsTogether == 0 && shape[0] >= kRowsTogether * processes;
    return by_rows ? kRowsTogether * shape[1] : 1;
  }
};

}  // namespace ops
