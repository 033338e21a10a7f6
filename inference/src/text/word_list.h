// The word dictionary of ERNIE tiny, applied by longest match: `ernie/tokenizers/word_list.py`.
#pragma once

#include <string>
#include <string_view>

#include "text/vocabulary.h"

namespace ernie {

class WordList {
 public:
  // The content of a file of one word a line. path: its, for messages. Throws UserError.
  WordList(std::string_view content, const std::string& path);

  // How many characters the part of a text has that begins at a place: the longest listed word, else one character.
  std::size_t part(std::u32string_view text, std::size_t at) const;

  // SHA-256 of the words that count, whatever their file looks like.
  const std::string& sum() const { return sum_; }

 private:
  TokenTree words_;
  std::string sum_;
};

}  // namespace ernie
