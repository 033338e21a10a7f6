#include "text/utf8.h"

namespace ernie {
namespace {

// The first continuation byte of some leads has a smaller range, which keeps out overlong forms and surrogates.
struct Range {
  unsigned char low, high;
};

Range second_of(unsigned char lead) {
  switch (lead) {
    case 0xE0: return {0xA0, 0xBF};
    case 0xED: return {0x80, 0x9F};
    case 0xF0: return {0x90, 0xBF};
    case 0xF4: return {0x80, 0x8F};
    default: return {0x80, 0xBF};
  }
}

}  // namespace

NextCode next_code(std::string_view bytes, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (size == 0 || size > bytes.size() - at) return {0, 0};
  const Range second = second_of(lead);
  if (byte(at + 1) < second.low || byte(at + 1) > second.high) return {0, 0};
  char32_t code = lead & (0x7Fu >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return {0, 0};
    code = code << 6 | (byte(at + i) & 0x3F);
  }
  return {code, size};
}

std::size_t decode_utf8(std::string_view bytes, std::u32string& text) {
  text.resize(bytes.size());
  std::size_t at = 0, count = 0;
  while (at < bytes.size()) {
    const NextCode next = next_code(bytes, at);
    if (next.size == 0) break;
    text[count++] = next.code;
    at += next.size;
  }
  text.resize(count);
  return at;
}

std::u32string code_points(std::string_view bytes) {
  std::u32string text;
  decode_utf8(bytes, text);
  return text;
}

void append_utf8(char32_t code, std::string& bytes) {
  const auto put = [&](char32_t value) { bytes.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    put(code);
    return;
  }
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xE0 | code >> 12);
    } else {
      put(0xF0 | code >> 18);
      put(0x80 | (code >> 12 & 0x3F));
    }
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

std::string to_utf8(std::u32string_view text) {
  std::string bytes;
  for (const char32_t code : text) append_utf8(code, bytes);
  return bytes;
}

}  // namespace ernie
