// Whole words as tokens, of texts that are cut at white space already: `WordTokenizer` of `ernie/tokenizers/words.py`
// without a lexer.
#pragma once

#include <atomic>

#include "text/tokenizer.h"

namespace ernie {

class WordTokenizer : public Tokenizer {
 public:
  WordTokenizer(Vocabulary vocabulary, bool lower) : Tokenizer(std::move(vocabulary)), lower_(lower) {}

  void encode(std::u32string_view text, std::vector<std::int32_t>& ids) const override;
  void encode_aligned(std::u32string_view text, Encoded& encoded) const override;
  const char* doubt() const override;

 private:
  template <typename Found>
  void words(std::u32string_view text, Found&& found) const;

  bool lower_;
  mutable std::atomic<bool> doubted_{false};  // a text came that nobody seems to have cut into words
};

}  // namespace ernie
