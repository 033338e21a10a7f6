#include "text/word_pieces.h"

#include <algorithm>

#include "text/unicode.h"

namespace ernie {
namespace {

constexpr char32_t kCapitalSigma = 0x3A3;
constexpr std::size_t kNear = 1 << 16;       // code points with tables of their own
constexpr std::size_t kLongestWord = 100;    // characters; a longer word is [UNK]
constexpr std::size_t kNowhere = ~std::size_t{0};

bool is_ascii_alnum(char32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The slice of a text that characters from these places stand for: marks behind the last one belong to it.
std::pair<std::uint32_t, std::uint32_t> slice_of(std::u32string_view text, const std::uint32_t* from, std::size_t n) {
  const auto [least, most] = std::minmax_element(from, from + n);
  std::size_t end = *most + 1;
  while (end < text.size() && unicode::is_nonspacing(text[end])) ++end;
  return {*least, static_cast<std::uint32_t>(end)};
}

}  // namespace

// The word that is being made: its characters, and for each the place in the text that it came from.
struct WordPieceTokenizer::Word {
  std::vector<char32_t> codes;
  std::vector<std::uint32_t> origins;
  std::size_t pending = kNowhere;  // where marks begin that are not yet in canonical order

  void push(char32_t code, std::size_t origin) {
    codes.push_back(code);
    origins.push_back(static_cast<std::uint32_t>(origin));
  }

  void push_mark(char32_t code, std::size_t origin) {
    if (pending == kNowhere) pending = codes.size();
    push(code, origin);
  }

  // Canonical ordering (Unicode, section 3.11): by combining class, equal ones as they stood.
  void settle() {
    if (codes.size() - pending > 1) {
      std::vector<std::pair<char32_t, std::uint32_t>> marks;
      for (std::size_t i = pending; i < codes.size(); ++i) marks.emplace_back(codes[i], origins[i]);
      std::stable_sort(marks.begin(), marks.end(), [](const auto& a, const auto& b) {
        return unicode::combining_class(a.first) < unicode::combining_class(b.first);
      });
      for (std::size_t i = 0; i < marks.size(); ++i) {
        codes[pending + i] = marks[i].first;
        origins[pending + i] = marks[i].second;
      }
    }
    pending = kNowhere;
  }

  template <typename Sink>
  void close(Sink& sink) {
    if (codes.empty()) return;
    if (pending != kNowhere) settle();
    sink.add(codes.data(), origins.data(), codes.size());
    codes.clear();
    origins.clear();
  }

  template <typename Sink>
  static void single(Sink& sink, char32_t code, std::size_t origin) {
    const auto place = static_cast<std::uint32_t>(origin);
    sink.add(&code, &place, 1);
  }
};

class WordPieceTokenizer::Ids {
 public:
  Ids(const WordPieceTokenizer& tokenizer, std::vector<std::int32_t>& ids) : tokenizer_(tokenizer), ids_(ids) {}

  void add(const char32_t* codes, const std::uint32_t*, std::size_t size) {
    tokenizer_.match(codes, size, [&](std::int32_t id, std::size_t, std::size_t) { ids_.push_back(id); });
  }

 private:
  const WordPieceTokenizer& tokenizer_;
  std::vector<std::int32_t>& ids_;
};

class WordPieceTokenizer::Aligned {
 public:
  Aligned(const WordPieceTokenizer& tokenizer, std::u32string_view text, Encoded& encoded)
      : tokenizer_(tokenizer), text_(text), encoded_(encoded) {}

  void add(const char32_t* codes, const std::uint32_t* origins, std::size_t size) {
    tokenizer_.match(codes, size, [&](std::int32_t id, std::size_t start, std::size_t end) {
      const auto [first, last] = slice_of(text_, origins + start, end - start);
      encoded_.add(id, first, last);
    });
  }

 private:
  const WordPieceTokenizer& tokenizer_;
  std::u32string_view text_;
  Encoded& encoded_;
};

class WordPieceTokenizer::Slices {
 public:
  Slices(std::u32string_view text, Spans& spans) : text_(text), spans_(spans) {}

  void add(const char32_t*, const std::uint32_t* origins, std::size_t size) {
    spans_.push_back(slice_of(text_, origins, size));
  }

 private:
  std::u32string_view text_;
  Spans& spans_;
};

WordPieceTokenizer::WordPieceTokenizer(Vocabulary vocabulary, const TokenizerSettings& settings)
    : Tokenizer(std::move(vocabulary)), settings_(settings), strips_(settings.strip.value_or(settings.lower)) {
  const bool marked = settings.kind == TokenizerSettings::Kind::subword_characters;
  const TokenTree& tokens = vocabulary_.tokens;
  first_root_ = tokens.walk(marked ? U"\u2581" : U"");
  next_root_ = tokens.walk(marked ? U"" : U"##");
  actions_.resize(kNear);
  first_near_.resize(kNear, TokenTree::kNone);
  next_near_.resize(kNear, TokenTree::kNone);
  for (char32_t code = 0; code < kNear; ++code) {
    actions_[code] = action_of(code);
    if (first_root_ != TokenTree::kNone) first_near_[code] = tokens.step(first_root_, code);
    if (next_root_ != TokenTree::kNone) next_near_[code] = tokens.step(next_root_, code);
  }
}

void WordPieceTokenizer::encode(std::u32string_view text, std::vector<std::int32_t>& ids) const {
  Ids sink(*this, ids);
  words(text, sink);
}

void WordPieceTokenizer::encode_aligned(std::u32string_view text, Encoded& encoded) const {
  Aligned sink(*this, text, encoded);
  words(text, sink);
}

Tokenizer::Spans WordPieceTokenizer::word_spans(std::u32string_view text) const {
  Spans spans;
  Slices sink(text, spans);
  words(text, sink);
  return spans;
}

template <typename Sink>
void WordPieceTokenizer::words(std::u32string_view text, Sink& sink) const {
  switch (settings_.kind) {
    case TokenizerSettings::Kind::full: return full_words(text, sink);
    case TokenizerSettings::Kind::characters: return space_words(text, sink);
    case TokenizerSettings::Kind::subword_characters: return character_words(text, sink);
  }
}

// Cleaned; cut at white space, ideographs and punctuation; lower-cased and without accents where that is asked for.
template <typename Sink>
void WordPieceTokenizer::full_words(std::u32string_view text, Sink& sink) const {
  Word word;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::uint32_t action = text[i] < kNear ? actions_[text[i]] : action_of(text[i]);
    const char32_t code = action & kCodeMask;
    switch (action >> kActionShift) {
      case plain:
        if (word.pending != kNowhere) word.settle();
        word.push(code, i);
        break;
      case drop: break;
      case cut: word.close(sink); break;
      case alone:
        word.close(sink);
        Word::single(sink, code, i);
        break;
      default: add_several(text, i, word, sink);
    }
  }
  word.close(sink);
}

// A character that becomes several, or whose place depends on its neighbours.
template <typename Sink>
void WordPieceTokenizer::add_several(std::u32string_view text, std::size_t at, Word& word, Sink& sink) const {
  char32_t small[unicode::kMostLowered], parts[unicode::kMostDecomposed];
  const int lowers = lowered(text, at, small);
  for (int i = 0; i < lowers; ++i) {
    parts[0] = small[i];
    const int count = strips_ ? unicode::decompose(small[i], parts) : 1;
    for (int k = 0; k < count; ++k) {
      const char32_t part = parts[k];
      const bool is_mark = strips_ && unicode::combining_class(part) != 0;
      if (!is_mark && word.pending != kNowhere) word.settle();
      if (strips_ && unicode::is_nonspacing(part)) continue;
      if (unicode::is_break(part)) {
        word.close(sink);
      } else if (unicode::is_punctuation(part)) {
        word.close(sink);
        Word::single(sink, part, at);
      } else if (is_mark) {
        word.push_mark(part, at);
      } else {
        word.push(part, at);
      }
    }
  }
}

// Cut at white space alone.
template <typename Sink>
void WordPieceTokenizer::space_words(std::u32string_view text, Sink& sink) const {
  Word word;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char32_t small[unicode::kMostLowered];
    const int count = lowered(text, i, small);
    for (int k = 0; k < count; ++k) {
      if (unicode::is_break(small[k])) {
        word.close(sink);
      } else {
        word.push(small[k], i);
      }
    }
  }
  word.close(sink);
}

// Runs of ASCII letters and digits, and single characters.
template <typename Sink>
void WordPieceTokenizer::character_words(std::u32string_view text, Sink& sink) const {
  Word word;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char32_t small[unicode::kMostLowered];
    const int count = lowered(text, i, small);
    for (int k = 0; k < count; ++k) {
      if (is_ascii_alnum(small[k])) {
        word.push(small[k], i);
        continue;
      }
      word.close(sink);
      if (!unicode::is_break(small[k])) Word::single(sink, small[k], i);
    }
  }
  word.close(sink);
}

// Cuts a word into pieces of the vocabulary, always the longest that fits, from the left: found(id, start, end).
template <typename Found>
void WordPieceTokenizer::match(const char32_t* word, std::size_t size, Found&& found) const {
  struct Piece {
    std::int32_t id;
    std::uint32_t end;
  };
  Piece pieces[kLongestWord];
  std::size_t count = 0;
  for (std::size_t start = 0; start < size && size <= kLongestWord;) {
    TokenTree::Node node = start == 0 ? next_of(first_near_, first_root_, word[0])
                                      : next_of(next_near_, next_root_, word[start]);
    std::int32_t id = TokenTree::kNoToken;
    std::size_t end = start;
    for (std::size_t i = start + 1; node != TokenTree::kNone; ++i) {
      if (const std::int32_t here = vocabulary_.tokens.id(node); here != TokenTree::kNoToken) {
        id = here;
        end = i;
      }
      if (i == size) break;
      node = vocabulary_.tokens.step(node, word[i]);
    }
    if (id == TokenTree::kNoToken) {
      count = 0;
      break;
    }
    pieces[count++] = {id, static_cast<std::uint32_t>(end)};
    start = end;
  }
  if (count == 0) return found(vocabulary_.unk, 0, size);
  for (std::size_t i = 0; i < count; ++i) found(pieces[i].id, i == 0 ? 0 : pieces[i - 1].end, pieces[i].end);
}

// The lower case of a character in its text, or the character. Returns how many were written.
int WordPieceTokenizer::lowered(std::u32string_view text, std::size_t at, char32_t* to) const {
  if (settings_.lower) return lower_at(text, at, to, settings_.kind == TokenizerSettings::Kind::full);
  to[0] = text[at];
  return 1;
}

// Of `full_words`. What depends on no neighbour and becomes one character is decided here, once for each character.
std::uint32_t WordPieceTokenizer::action_of(char32_t code) const {
  const auto made = [](Action action, char32_t to = 0) { return action << kActionShift | static_cast<uint32_t>(to); };
  if (unicode::is_dropped(code)) return made(drop);
  if (unicode::is_space(code) || unicode::is_break(code)) return made(cut);
  if (settings_.lower && code == kCapitalSigma) return made(several);
  char32_t small[unicode::kMostLowered], parts[unicode::kMostLowered * unicode::kMostDecomposed];
  int lowers = 1, count = 0, kept = 0;
  small[0] = code;
  if (settings_.lower) lowers = unicode::lower(code, small);
  for (int i = 0; i < lowers; ++i) {
    parts[count] = small[i];
    count += strips_ ? unicode::decompose(small[i], parts + count) : 1;
  }
  char32_t to = 0;
  for (int i = 0; i < count; ++i) {
    if (!strips_) {
      to = parts[kept++];
      continue;
    }
    const bool is_ordered = unicode::combining_class(parts[i]) != 0;
    if (unicode::is_nonspacing(parts[i])) {
      if (!is_ordered) return made(several);  // marks on its two sides are not brought into order
      continue;
    }
    if (is_ordered) return made(several);
    to = parts[kept++];
  }
  if (kept == 0) return made(drop);
  if (kept > 1 || unicode::is_break(to)) return made(several);
  const bool is_alone = (settings_.ideographs && unicode::is_cjk(code)) || unicode::is_punctuation(to);
  return made(is_alone ? alone : plain, to);
}

}  // namespace ernie
