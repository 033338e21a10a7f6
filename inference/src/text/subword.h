// ERNIE tiny's tokenizer: segmentation by a word dictionary, lower case, sentencepiece (`ernie/tokenizers/subword.py`).
#pragma once

#include <memory>

#include "text/piece_model.h"
#include "text/tokenizer.h"
#include "text/word_list.h"

namespace ernie {

class SubwordTokenizer : public Tokenizer {
 public:
  // model_path, vocabulary_path: for the message. Throws UserError: the model does not belong to the vocabulary.
  SubwordTokenizer(Vocabulary vocabulary, bool lower, WordList words, std::unique_ptr<const PieceModel> model,
                   const std::string& model_path, const std::string& vocabulary_path);

  void encode(std::u32string_view text, std::vector<std::int32_t>& ids) const override;
  void encode_aligned(std::u32string_view text, Encoded& encoded) const override;

 private:
  template <typename Add>
  void join(std::u32string_view text, Add&& add) const;
  std::int32_t id_of(std::u32string_view piece) const;

  WordList words_;
  std::unique_ptr<const PieceModel> model_;
  std::string model_path_;
  bool lower_;
  bool marks_ends_;  // the model marks the ends of words, not their beginnings
  std::vector<std::int32_t> table_;  // id of a piece in the model -> id in the vocabulary
};

}  // namespace ernie
