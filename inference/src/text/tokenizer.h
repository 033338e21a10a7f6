// Text -> ids of a vocabulary, without [CLS] and [SEP]: the same ids and the same places in the text as the tokenizers
// of the same names in Python (`ernie/tokenizers/__init__.py`).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace ernie {

// Ids, and for each the slice [start, end) of the text that it stands for, in code points.
struct Encoded {
  std::vector<std::int32_t> ids;
  std::vector<std::uint32_t> starts, ends;

  void add(std::int32_t id, std::size_t start, std::size_t end) {
    ids.push_back(id);
    starts.push_back(static_cast<std::uint32_t>(start));
    ends.push_back(static_cast<std::uint32_t>(end));
  }
};

// Safe to share among threads.
class Tokenizer {
 public:
  using Spans = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

  explicit Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Appends the ids of a text.
  virtual void encode(std::u32string_view text, std::vector<std::int32_t>& ids) const = 0;

  // Appends the ids with their slices.
  virtual void encode_aligned(std::u32string_view text, Encoded& encoded) const = 0;

  // The words of a text, which tagging labels, as slices. Here: at white space.
  virtual Spans word_spans(std::u32string_view text) const;

  // Whether each ideograph is a word of its own, so that spaces beside it mean nothing.
  virtual bool cuts_ideographs() const { return false; }

  // Why results may be worthless, when the texts so far look so; else null.
  virtual const char* doubt() const { return nullptr; }

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  Vocabulary vocabulary_;
};

// A text without the spaces that part nothing, see `ernie.tokenizers.text.remove_spaces`.
std::u32string without_spaces(std::u32string_view text);

// The lower case of the character at a place of a text, as that of the whole text has it. Returns how many code points
// were written to `to`. passes_dropped: a text whose `unicode::is_dropped` are taken out before.
int lower_at(std::u32string_view text, std::size_t at, char32_t* to, bool passes_dropped = false);

}  // namespace ernie
