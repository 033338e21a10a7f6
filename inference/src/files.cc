#include "files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "errors.h"

namespace ernie {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;

struct Handle {
  int number;
  ~Handle() {
    if (number >= 0) close(number);
  }
};

const char* kind_of(mode_t mode) {
  return S_ISDIR(mode) ? "a folder" : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

UserError unreadable(const std::string& path, const char* expected) {
  if (errno == ENOENT) return bad_input(path, "no such file", expected);
  return bad_input(path, std::string("a path that cannot be read (") + std::strerror(errno) + ")", expected);
}

// A regular file, and what is known about it.
struct Opened {
  Handle handle;
  struct stat about;

  Opened(const std::string& path, const char* expected)
      // Without O_NONBLOCK, opening a FIFO waits for a writer.
      : handle{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)} {
    if (handle.number < 0 || fstat(handle.number, &about) != 0) throw unreadable(path, expected);
    if (!S_ISREG(about.st_mode)) throw bad_input(path, kind_of(about.st_mode), expected);
  }
};

}  // namespace

std::string read_file(const std::string& path, std::size_t limit, const char* expected) {
  const Opened file(path, expected);
  std::string content;
  for (;;) {
    const std::size_t size = content.size();
    if (size > limit) throw bad_input(path, "more than " + std::to_string(limit) + " bytes", expected);
    content.resize(size + std::min(kBlock, limit + 1 - size));
    const ssize_t got = read(file.handle.number, content.data() + size, content.size() - size);
    if (got < 0) throw unreadable(path, expected);
    content.resize(size + static_cast<std::size_t>(got));
    if (got == 0) return content;
  }
}

bool is_there(const std::string& path) {
  struct stat about;
  return lstat(path.c_str(), &about) == 0;
}

MappedFile::MappedFile(const std::string& path, const char* expected) {
  const Opened file(path, expected);
  size_ = static_cast<std::size_t>(file.about.st_size);
  if (size_ == 0) return;  // which cannot be mapped
  void* place = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.handle.number, 0);
  if (place == MAP_FAILED) throw unreadable(path, expected);
  data_ = static_cast<const unsigned char*>(place);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<unsigned char*>(data_), size_);
}

void MappedFile::give_back() const {
  if (data_ != nullptr) madvise(const_cast<unsigned char*>(data_), size_, MADV_DONTNEED);
}

}  // namespace ernie
