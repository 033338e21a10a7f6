// Reading comprehension: a question and a context in, the part of the context that answers out.
#pragma once

#include "model/folder.h"
#include "tasks/codec.h"

namespace ernie {

class ReadingCodec : public Codec {
 public:
  explicit ReadingCodec(const Folder& folder);

  const Columns& columns() const override { return columns_; }
  Windows encode(const Json& record) const override;
  Json decode(const Json& record, const Windows& windows, const Outputs& outputs) const override;
  Json select(Json result, const Selection& selection) const override;
  void check(const Selection& selection) const override;
  std::vector<std::string> fields() const override { return {"id", "answer", "start", "end", "probability", "n_best"}; }
  std::vector<std::string> echo() const override { return {"id"}; }

 private:
  struct Known;
  struct Candidate {
    std::size_t first, last;  // tokens of the document
    double start_logit, end_logit;
  };
  // One that is no part of the context has no place.
  struct Answer {
    std::u32string text;
    bool has_place;
    std::size_t start, end;
    double start_logit, end_logit, probability;
  };

  std::vector<Candidate> candidates(const Known& known, const Outputs& outputs) const;
  std::vector<Answer> distinct_answers(const Known& known, const Outputs& outputs) const;
  static Answer no_answer(const Outputs& outputs);
  static void add_probabilities(std::vector<Answer>& answers);
  static Json json_of(const Answer& answer);

  const Folder& folder_;
  Columns columns_{{"question", "context"}, {"id"}, {}};
  std::size_t max_query_length_, doc_stride_, n_best_size_, max_answer_length_;
  bool unanswerable_;
  double null_score_diff_threshold_ = 0;
};

}  // namespace ernie
