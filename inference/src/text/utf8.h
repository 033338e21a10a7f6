// UTF-8 to code points and back, strict: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ernie {

struct NextCode {
  char32_t code;
  std::size_t size;  // bytes; 0 where the byte begins no character
};

NextCode next_code(std::string_view bytes, std::size_t at);

// The code points of a text in place of `text`. Returns the place of the first byte that is not UTF-8; the end of
// `bytes` where there is none.
std::size_t decode_utf8(std::string_view bytes, std::u32string& text);

// The same for text that is known to be UTF-8.
std::u32string code_points(std::string_view bytes);

void append_utf8(char32_t code, std::string& bytes);

std::string to_utf8(std::u32string_view text);

}  // namespace ernie
