// Text -> ids of a vocabulary, without [CLS] and [SEP]: the same ids and the same places in the text as the tokenizers
// of the same names in Python (`ernie/tokenization.py`).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace ernie {

struct TokenizerSettings {
  enum class Kind { full, characters, subword_characters };
  Kind kind = Kind::full;
  bool lower = true;
  std::optional<bool> strip = {};  // leave out accents; unset: as `lower`
  bool ideographs = true;          // each is a word
};

// Ids, and for each the slice [start, end) of the text that it stands for, in code points.
struct Encoded {
  std::vector<std::int32_t> ids;
  std::vector<std::uint32_t> starts, ends;
};

// Safe to share among threads.
class Tokenizer {
 public:
  Tokenizer(Vocabulary vocabulary, const TokenizerSettings& settings);

  // Appends the ids of a text.
  void encode(std::u32string_view text, std::vector<std::int32_t>& ids) const;

  // Appends the ids with their slices.
  void encode_aligned(std::u32string_view text, Encoded& encoded) const;

  // The words of a text, which tagging labels, as slices.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> word_spans(std::u32string_view text) const;

  // A text without the spaces that part nothing, see `ernie.tokenizers.text.remove_spaces`.
  static std::u32string without_spaces(std::u32string_view text);

  const Vocabulary& vocabulary() const { return vocabulary_; }
  bool cuts_ideographs() const { return settings_.ideographs; }

 private:
  struct Word;
  class Ids;
  class Aligned;
  class Spans;

  // What becomes of a character, in the upper bits; below them the code point that takes its place.
  enum Action : std::uint32_t { plain, drop, cut, alone, several };
  static constexpr int kActionShift = 28;
  static constexpr std::uint32_t kCodeMask = (1u << 21) - 1;

  template <typename Sink>
  void words(std::u32string_view text, Sink& sink) const;
  template <typename Sink>
  void full_words(std::u32string_view text, Sink& sink) const;
  template <typename Sink>
  void space_words(std::u32string_view text, Sink& sink) const;
  template <typename Sink>
  void character_words(std::u32string_view text, Sink& sink) const;
  template <typename Sink>
  void add_several(std::u32string_view text, std::size_t at, Word& word, Sink& sink) const;
  template <typename Found>
  void match(const char32_t* word, std::size_t size, Found&& found) const;

  int lowered(std::u32string_view text, std::size_t at, char32_t* to) const;
  bool ends_in_final_sigma(std::u32string_view text, std::size_t at) const;
  std::uint32_t action_of(char32_t code) const;
  TokenTree::Node next_of(const std::vector<TokenTree::Node>& near, TokenTree::Node root, char32_t code) const {
    return code < near.size() ? near[code] : vocabulary_.tokens.step(root, code);
  }

  Vocabulary vocabulary_;
  TokenizerSettings settings_;
  bool strips_;
  std::vector<std::uint32_t> actions_;                       // of the first 65,536 code points
  TokenTree::Node first_root_, next_root_;                   // of pieces that begin a word, and of those that go on
  std::vector<TokenTree::Node> first_near_, next_near_;      // where the roots lead, for the first 65,536 code points
};

}  // namespace ernie
