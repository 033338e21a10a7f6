#include "errors.h"

#include <cstdio>

#include "text/utf8.h"

namespace ernie {
namespace {

constexpr std::size_t kShown = 60;

std::string escaped(std::string_view text, std::size_t limit) {
  std::string shown;
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size(); ++count) {
    if (count == limit) return shown + "...";
    const auto [code, size] = next_code(text, at);
    char escape[8];
    if (size == 0 || code < 0x20 || code == 0x7F) {
      std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned char>(text[at]));
      shown += escape;
      at += 1;
    } else {
      shown += text.substr(at, size);
      at += size;
    }
  }
  return shown;
}

}  // namespace

std::string quoted(std::string_view text) { return "'" + escaped(text, kShown) + "'"; }

UserError bad_input(std::string_view path, std::string_view found, std::string_view expected, std::size_t line,
                    std::string_view advice) {
  std::string text = escaped(path, 4096);
  if (line != 0) text += ":" + std::to_string(line);
  text += ": found " + std::string(found) + ", expected " + std::string(expected) + ".";
  if (!advice.empty()) text += " " + std::string(advice);
  return UserError(text, 1, std::string(found));
}

}  // namespace ernie
