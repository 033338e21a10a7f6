#include "text/unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace ernie::unicode {
namespace {

#include "unicode_table.inc"

constexpr char32_t kHangul = 0xAC00, kLeading = 0x1100, kVowel = 0x1161, kTrailing = 0x11A7;
constexpr char32_t kVowels = 21, kTrailings = 28, kSyllables = 11172;

const Record& record(char32_t code) { return kRecords[kRecordOf[kBlocks[code >> 8] * 256 + (code & 0xFF)]]; }

bool has(char32_t code, Flag flag) { return (record(code).flags & flag) != 0; }

template <typename Row, std::size_t n>
const Row& row(const Row (&rows)[n], char32_t code) {
  return *std::lower_bound(std::begin(rows), std::end(rows), code, [](const Row& r, char32_t c) { return r.code < c; });
}

}  // namespace

std::string_view version() { return kUnicodeVersion; }

bool is_space(char32_t code) { return has(code, kSpace); }
bool is_break(char32_t code) { return has(code, kBreak); }
bool is_dropped(char32_t code) { return has(code, kDropped); }
bool is_punctuation(char32_t code) { return has(code, kPunctuation); }
bool is_nonspacing(char32_t code) { return has(code, kNonspacing); }
bool is_mark(char32_t code) { return has(code, kMark); }
bool is_cased(char32_t code) { return has(code, kCased); }
bool is_case_ignorable(char32_t code) { return has(code, kIgnorable); }
unsigned combining_class(char32_t code) { return record(code).combining; }

bool is_cjk(char32_t code) {
  if (code < 0x3400) return false;
  return (code >= 0x4E00 && code <= 0x9FFF) || code <= 0x4DBF || (code >= 0xF900 && code <= 0xFAFF) ||
         (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2CEAF) ||
         (code >= 0x2F800 && code <= 0x2FA1F);
}

int lower(char32_t code, char32_t* to) {
  if (!has(code, kLowers)) {
    to[0] = code;
    return 1;
  }
  const Lowered& found = row(kLowered, code);
  to[0] = found.first;
  to[1] = found.second;
  return found.second == 0 ? 1 : 2;
}

int decompose(char32_t code, char32_t* to) {
  if (code >= kHangul && code < kHangul + kSyllables) {
    const char32_t index = code - kHangul, trailing = index % kTrailings;
    to[0] = kLeading + index / (kVowels * kTrailings);
    to[1] = kVowel + index / kTrailings % kVowels;
    to[2] = kTrailing + trailing;
    return trailing == 0 ? 2 : 3;
  }
  if (!has(code, kDecomposes)) {
    to[0] = code;
    return 1;
  }
  const Decomposition& found = row(kDecompositions, code);
  std::copy_n(kParts + found.begin, found.count, to);
  return found.count;
}

}  // namespace ernie::unicode
