// Files that others wrote.
#pragma once

#include <cstddef>
#include <string>

namespace ernie {

// The content of a regular file; links are followed. Throws UserError: it cannot be read, or has more than `limit`
// bytes. expected: what it should be, for the message.
std::string read_file(const std::string& path, std::size_t limit, const char* expected);

bool is_there(const std::string& path);

// A regular file in memory, mapped for reading. Throws UserError as `read_file` does.
class MappedFile {
 public:
  MappedFile(const std::string& path, const char* expected);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const unsigned char* data() const { return data_; }
  std::size_t size() const { return size_; }

  // Pages that were read go back to the system; where they are read again they come from the file.
  void give_back() const;

 private:
  const unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ernie
