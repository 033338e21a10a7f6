#include "text/words.h"

#include <algorithm>

#include "text/unicode.h"

namespace ernie {
namespace {

constexpr std::size_t kLong = 6;  // ideographs in a row that are hardly one word

bool is_run(std::u32string_view word) {
  return word.size() >= kLong && std::all_of(word.begin(), word.begin() + kLong, unicode::is_cjk);
}

}  // namespace

// found(id, start, end) for each word.
template <typename Found>
void WordTokenizer::words(std::u32string_view text, Found&& found) const {
  bool is_known = false, has_run = false;
  for (std::size_t at = 0;;) {
    while (at < text.size() && unicode::is_break(text[at])) ++at;
    if (at == text.size()) break;
    const std::size_t start = at;
    TokenTree::Node node = TokenTree::kRoot;
    for (; at < text.size() && !unicode::is_break(text[at]); ++at) {
      if (node == TokenTree::kNone) continue;
      char32_t small[unicode::kMostLowered] = {text[at]};
      const int count = lower_ ? lower_at(text, at, small) : 1;
      node = vocabulary_.tokens.walk({small, static_cast<std::size_t>(count)}, node);
    }
    std::int32_t id = node == TokenTree::kNone ? TokenTree::kNoToken : vocabulary_.tokens.id(node);
    if (id == TokenTree::kNoToken) id = vocabulary_.unk;
    is_known = is_known || id != vocabulary_.unk;
    has_run = has_run || is_run(text.substr(start, at - start));
    found(id, start, at);
  }
  if (has_run && !is_known) doubted_.store(true, std::memory_order_relaxed);
}

void WordTokenizer::encode(std::u32string_view text, std::vector<std::int32_t>& ids) const {
  words(text, [&](std::int32_t id, std::size_t, std::size_t) { ids.push_back(id); });
}

void WordTokenizer::encode_aligned(std::u32string_view text, Encoded& encoded) const {
  words(text, [&](std::int32_t id, std::size_t start, std::size_t end) { encoded.add(id, start, end); });
}

const char* WordTokenizer::doubt() const {
  if (!doubted_.load(std::memory_order_relaxed)) return nullptr;
  return "this model reads words with spaces between them, and knew no word of a text without any: segment texts as those "
         "of its training were (distill/segment.py)";
}

}  // namespace ernie
