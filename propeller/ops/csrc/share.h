// How the numbers of arrays are shared out among processes: of each array to each process one portion of equal size.
#pragma once

#include <cstdint>

namespace ops {

struct Share {
  int64_t rank = 0, processes = 1;

  // Of `size` numbers, where the portion begins, and how many it has.
  int64_t begin(int64_t size) const { return size * rank / processes; }
  int64_t count(int64_t size) const { return size * (rank + 1) / processes - begin(size); }
};

}  // namespace ops
