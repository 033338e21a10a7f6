// How a text is cut into the tokens that a tagging model labels, and into sentences.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json.h"
#include "text/tokenizer.h"

namespace ernie {

using Slice = std::pair<std::uint32_t, std::uint32_t>;

// A rule that training learnt from its file, see `ernie.tokenizers.token_cut`.
class TokenCut {
 public:
  // value: `token_cut` of `labels.json` in the file `path`; null: as the tokenizer cuts. Throws UserError.
  TokenCut(const Json* value, const std::string& path);

  // The tokens of a text, ascending, without white space at their ends.
  std::vector<Slice> slices(std::u32string_view text, const Tokenizer& tokenizer) const;

 private:
  char class_of(char32_t code) const;
  static std::vector<Slice> words(const std::string& classes);
  std::vector<Slice> characters(const std::string& classes) const;

  enum class Rule { tokenizer, characters, words };
  Rule rule_ = Rule::tokenizer;
  bool space_ = false, mark_ = false, invisible_ = false;  // are tokens of their own
  std::u32string inside_, before_;
};

// Offsets behind the sentences of a text, ascending.
std::vector<std::size_t> sentence_ends(std::u32string_view text);

}  // namespace ernie
