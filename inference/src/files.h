// Files that others wrote.
#pragma once

#include <cstddef>
#include <string>

namespace ernie {

// The content of a regular file; links are followed. Throws UserError: it cannot be read, or has more than `limit`
// bytes. expected: what it should be, for the message.
std::string read_file(const std::string& path, std::size_t limit, const char* expected);

bool is_there(const std::string& path);

}  // namespace ernie
