#include "text/vocabulary.h"

#include <algorithm>
#include <cstdlib>
#include <unordered_map>

#include "errors.h"
#include "files.h"
#include "text/utf8.h"

namespace ernie {

TokenTree::TokenTree() : keys_(1 << 8, kEmpty), next_(1 << 8), mask_((1 << 8) - 1), shift_(64 - 8), ids_{kNoToken} {}

void TokenTree::add(std::u32string_view token, std::int32_t id) {
  Node node = kRoot;
  for (const char32_t code : token) {
    Node next = step(node, code);
    if (next == kNone) {
      if (2 * ids_.size() > mask_) grow();
      const std::uint64_t key = key_of(node, code);
      std::size_t slot = slot_of(key);
      while (keys_[slot] != kEmpty) slot = (slot + 1) & mask_;
      next = static_cast<Node>(ids_.size());
      keys_[slot] = key;
      next_[slot] = next;
      ids_.push_back(kNoToken);
    }
    node = next;
  }
  ids_[node] = id;
}

void TokenTree::grow() {
  std::vector<std::uint64_t> keys(2 * keys_.size(), kEmpty);
  std::vector<Node> next(2 * next_.size());
  keys.swap(keys_);
  next.swap(next_);
  mask_ = keys_.size() - 1;
  --shift_;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == kEmpty) continue;
    std::size_t slot = slot_of(keys[i]);
    while (keys_[slot] != kEmpty) slot = (slot + 1) & mask_;
    keys_[slot] = keys[i];
    next_[slot] = next[i];
  }
}

TokenTree::Node TokenTree::walk(std::u32string_view text, Node node) const {
  for (std::size_t i = 0; i < text.size() && node != kNone; ++i) node = step(node, text[i]);
  return node;
}

std::int32_t TokenTree::id_of(std::u32string_view token) const {
  const Node node = walk(token);
  return node == kNone ? kNoToken : id(node);
}

namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 28;
constexpr std::int64_t kMostGaps = 500000;
constexpr std::string_view kBom = "\xEF\xBB\xBF";

std::string_view stripped(std::string_view text) {
  constexpr std::string_view kWhite = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kWhite);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kWhite) - first + 1);
}

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {}

  Vocabulary read() {
    const std::string content = read_file(path_, kMostBytes, "a vocabulary file that can be read");
    std::string_view rest = content;
    if (stripped(rest).empty()) {
      throw bad_input(path_, "an empty file", "a vocabulary: token<TAB>id, or one token a line");
    }
    if (rest.substr(0, kBom.size()) == kBom) rest.remove_prefix(kBom.size());
    if (rest.back() == '\n') rest.remove_suffix(1);
    for (number_ = 1;; ++number_) {
      const std::size_t end = rest.find('\n');
      line(rest.substr(0, end));
      if (end == std::string_view::npos) break;
      rest.remove_prefix(end + 1);
    }
    finish();
    return std::move(made_);
  }

 private:
  [[noreturn]] void refuse(const std::string& found, const std::string& expected) const {
    throw bad_input(path_, found, expected, number_);
  }

  void line(std::string_view bytes) {
    std::u32string codes;
    const std::size_t wrong = decode_utf8(bytes, codes);
    if (wrong < bytes.size()) {
      char found[32];
      std::snprintf(found, sizeof found, "byte 0x%02x that is not UTF-8", static_cast<unsigned char>(bytes[wrong]));
      refuse(found, "UTF-8 text");
    }
    const std::size_t tab = bytes.find('\t');
    const std::string token(stripped(bytes.substr(0, tab)));
    const bool has_id = tab != std::string_view::npos;
    const std::string_view id = has_id ? bytes.substr(tab + 1) : std::string_view{};
    if (token.empty() && stripped(id).empty()) return;
    if (form_ == Form::unknown) form_ = has_id ? Form::pairs : Form::tokens;
    add(token, has_id || form_ == Form::pairs ? parsed(id, has_id) : static_cast<std::int64_t>(number_) - 1);
  }

  std::int64_t parsed(std::string_view text, bool has_id) const {
    constexpr const char* kForms[] = {"one token a line", "token<TAB>id"};
    if (const auto tabs = std::count(text.begin(), text.end(), '\t'); tabs > 0) {
      refuse(std::to_string(tabs + 2) + " fields", "token<TAB>id, or one token a line");
    }
    if (has_id != (form_ == Form::pairs)) {
      refuse(kForms[has_id], std::string(kForms[!has_id]) + " as on the lines before");
    }
    const std::string digits(stripped(text));
    if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != std::string::npos) {
      refuse("id " + quoted(digits), "a whole number from 0");
    }
    return std::atoll(digits.c_str());
  }

  void add(const std::string& token, std::int64_t id) {
    if (token.empty()) refuse("an id without a token", "token<TAB>id");
    if (token == "[unused_gap_" + std::to_string(id) + "]") return;
    const auto [owner, is_new] = owners_.try_emplace(id, token);
    if (!is_new && owner->second != token) {
      refuse("id " + std::to_string(id) + ", which token " + quoted(owner->second) + " has", "each id once");
    }
    const auto [known, is_first] = lines_.try_emplace(token, number_, id);
    if (!is_first) {
      made_.warnings.push_back(path_ + ": token " + quoted(token) + " on line " + std::to_string(known->second.first) +
                               " and again on line " + std::to_string(number_) + ": id " + std::to_string(id) +
                               " of line " + std::to_string(number_) + " holds");
      known->second = {number_, id};
    }
  }

  // Not before all ids are known: a huge one would not fit.
  void finish() {
    number_ = 0;
    std::int64_t largest = 0;
    for (const auto& [token, place] : lines_) largest = std::max(largest, place.second);
    const std::int64_t most = kMostGaps + 2 * static_cast<std::int64_t>(lines_.size());
    if (largest > most) {
      refuse("id " + std::to_string(largest) + " among " + std::to_string(lines_.size()) + " tokens",
             "ids up to " + std::to_string(most));
    }
    for (const auto& [token, place] : lines_) made_.tokens.add(code_points(token), std::int32_t(place.second));
    made_.count = lines_.size();
    made_.largest_id = static_cast<std::int32_t>(largest);
    std::string missing;
    const auto special = [&](const char* token) {
      const std::int32_t id = made_.tokens.id_of(code_points(token));
      if (id == TokenTree::kNoToken) missing += (missing.empty() ? "" : ", ") + std::string(token);
      return id;
    };
    made_.pad = special("[PAD]");
    made_.cls = special("[CLS]");
    made_.sep = special("[SEP]");
    made_.unk = special("[UNK]");
    special("[MASK]");
    if (!missing.empty()) refuse("no token " + missing, "a vocabulary with the special tokens");
  }

  enum class Form { unknown, tokens, pairs };

  const std::string& path_;
  Vocabulary made_;
  Form form_ = Form::unknown;
  std::size_t number_ = 0;
  std::unordered_map<std::int64_t, std::string> owners_;
  std::unordered_map<std::string, std::pair<std::size_t, std::int64_t>> lines_;
};

}  // namespace

Vocabulary read_vocabulary(const std::string& path) { return Reader(path).read(); }

}  // namespace ernie
