#include "memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>

namespace ernie {

void give_back(const std::string& mapped_file) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  const std::unique_ptr<char, void (*)(void*)> path(realpath(mapped_file.c_str(), nullptr), std::free);
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (path && std::getline(maps, line)) {
    // first-last rights offset device inode path
    std::uintptr_t first = 0, last = 0;
    char rights[5] = "";
    int begin = 0;
    const bool is_read =
        std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %n", &first, &last, rights, &begin) == 3;
    // What is written to stands nowhere else.
    if (!is_read || rights[0] != 'r' || rights[1] != '-' || line.c_str() + begin != std::string(path.get())) continue;
    madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }
}

}  // namespace ernie
