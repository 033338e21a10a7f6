#include "text/word_list.h"

#include <algorithm>
#include <set>

#include "errors.h"
#include "sha256.h"
#include "text/utf8.h"

namespace ernie {
namespace {

constexpr std::size_t kMostCharacters = 5;
constexpr char kExpected[] = "a word dictionary: one word a line";
constexpr std::string_view kBom = "\xEF\xBB\xBF";

bool begins_with(std::string_view text, std::string_view with) { return text.substr(0, with.size()) == with; }

void refuse_pickles(std::string_view content, const std::string& path) {
  bool is_pickle = begins_with(content, "\x80");
  for (const char* old : {"c__builtin__\n", "cbuiltins\n", "(lp", "(dp", "(tp"}) {
    is_pickle = is_pickle || begins_with(content, old);
  }
  if (is_pickle) throw bad_input(path, "a pickle", kExpected, 0, "ernie export makes one of it.");
}

}  // namespace

WordList::WordList(std::string_view content, const std::string& path) {
  refuse_pickles(content, path);
  if (begins_with(content, kBom)) content.remove_prefix(kBom.size());
  std::set<std::string_view> words;  // those that a single character is not, and that are ever looked up
  std::u32string codes;
  for (std::size_t number = 1;; ++number) {
    const std::size_t end = content.find('\n');
    std::string_view word = content.substr(0, end);
    if (!word.empty() && word.back() == '\r') word.remove_suffix(1);
    if (const std::size_t wrong = decode_utf8(word, codes); wrong < word.size()) {
      char found[32];
      std::snprintf(found, sizeof found, "byte 0x%02x that is not UTF-8", static_cast<unsigned char>(word[wrong]));
      throw bad_input(path, found, kExpected, number);
    }
    if (const auto tabs = std::count(word.begin(), word.end(), '\t'); tabs > 0) {
      throw bad_input(path, std::to_string(tabs + 1) + " fields", "one word a line", number);
    }
    if (word.find('\0') != std::string_view::npos) throw bad_input(path, "a NUL byte", "one word a line", number);
    if (codes.size() >= 2 && codes.size() <= kMostCharacters && words.insert(word).second) words_.add(codes, 0);
    if (end == std::string_view::npos) break;
    content.remove_prefix(end + 1);
  }
  if (words.empty()) {
    throw bad_input(path, "no word of 2 to " + std::to_string(kMostCharacters) + " characters", kExpected);
  }
  std::string joined;
  for (const std::string_view word : words) (joined += joined.empty() ? "" : "\n") += word;
  sum_ = sha256(joined);
}

std::size_t WordList::part(std::u32string_view text, std::size_t at) const {
  std::size_t longest = 1;
  TokenTree::Node node = TokenTree::kRoot;
  for (std::size_t i = at; i < text.size(); ++i) {
    node = words_.step(node, text[i]);
    if (node == TokenTree::kNone) break;
    if (words_.id(node) != TokenTree::kNoToken) longest = i - at + 1;
  }
  return longest;
}

}  // namespace ernie
