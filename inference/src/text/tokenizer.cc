#include "text/tokenizer.h"

#include <algorithm>

#include "text/unicode.h"

namespace ernie {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3, kSigma = 0x3C3, kFinalSigma = 0x3C2;

// A capital sigma is a final one behind a letter, unless a letter follows. Each look ends at the next sigma.
bool ends_in_final_sigma(std::u32string_view text, std::size_t at, bool passes_dropped) {
  const auto is_passed = [passes_dropped](char32_t code) {
    return unicode::is_case_ignorable(code) || (passes_dropped && unicode::is_dropped(code));
  };
  std::size_t before = at, after = at + 1;
  while (before > 0 && is_passed(text[before - 1])) --before;
  if (before == 0 || !unicode::is_cased(text[before - 1])) return false;
  while (after < text.size() && is_passed(text[after])) ++after;
  return after == text.size() || !unicode::is_cased(text[after]);
}

}  // namespace

int lower_at(std::u32string_view text, std::size_t at, char32_t* to, bool passes_dropped) {
  if (text[at] != kCapitalSigma) return unicode::lower(text[at], to);
  to[0] = ends_in_final_sigma(text, at, passes_dropped) ? kFinalSigma : kSigma;
  return 1;
}

Tokenizer::Spans Tokenizer::word_spans(std::u32string_view text) const {
  Spans spans;
  for (std::size_t end = 0;;) {
    std::size_t start = end;
    while (start < text.size() && unicode::is_break(text[start])) ++start;
    if (start == text.size()) return spans;
    for (end = start; end < text.size() && !unicode::is_break(text[end]);) ++end;
    spans.emplace_back(static_cast<std::uint32_t>(start), static_cast<std::uint32_t>(end));
  }
}

std::u32string without_spaces(std::u32string_view text) {
  const auto is_apart = [](char32_t code) {
    return unicode::is_space(code) || (unicode::is_cjk(code) && !unicode::is_dropped(code));
  };
  // A capital sigma is lower-cased by what follows, and some punctuation counts as part of its word there.
  const bool has_sigma = text.find(kCapitalSigma) != std::u32string_view::npos;
  const auto ends_word = [&](char32_t code) {
    return is_apart(code) || (!has_sigma && unicode::is_punctuation(code));
  };
  std::u32string kept;
  kept.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] != ' ') {
      kept.push_back(text[i++]);
      continue;
    }
    const std::size_t end = std::min(text.find_first_not_of(' ', i), text.size());
    const bool parts = i > 0 && end < text.size() && !(ends_word(text[i - 1]) || ends_word(text[end]));
    if (parts) kept.append(text.substr(i, end - i));
    i = end;
  }
  return kept;
}

}  // namespace ernie
