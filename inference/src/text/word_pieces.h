// The tokenizers of `ernie/tokenization.py`: words, then the longest pieces of the vocabulary in them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace ernie {

struct TokenizerSettings {
  enum class Kind { full, characters, subword_characters };
  Kind kind = Kind::full;
  bool lower = true;
  std::optional<bool> strip = {};  // leave out accents; unset: as `lower`
  bool ideographs = true;          // each is a word
};

class WordPieceTokenizer : public Tokenizer {
 public:
  WordPieceTokenizer(Vocabulary vocabulary, const TokenizerSettings& settings);

  void encode(std::u32string_view text, std::vector<std::int32_t>& ids) const override;
  void encode_aligned(std::u32string_view text, Encoded& encoded) const override;
  Spans word_spans(std::u32string_view text) const override;
  bool cuts_ideographs() const override { return settings_.ideographs; }

 private:
  struct Word;
  class Ids;
  class Aligned;
  class Slices;

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
  std::uint32_t action_of(char32_t code) const;
  TokenTree::Node next_of(const std::vector<TokenTree::Node>& near, TokenTree::Node root, char32_t code) const {
    return code < near.size() ? near[code] : vocabulary_.tokens.step(root, code);
  }

  TokenizerSettings settings_;
  bool strips_;
  std::vector<std::uint32_t> actions_;                       // of the first 65,536 code points
  TokenTree::Node first_root_, next_root_;                   // of pieces that begin a word, and of those that go on
  std::vector<TokenTree::Node> first_near_, next_near_;      // where the roots lead, for the first 65,536 code points
};

}  // namespace ernie
