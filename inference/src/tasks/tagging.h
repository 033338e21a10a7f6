// Sequence labelling: raw text in, entities out, with their places in the text.
#pragma once

#include "model/folder.h"
#include "tasks/codec.h"
#include "tasks/token_cut.h"

namespace ernie {

class TaggingCodec : public Codec {
 public:
  explicit TaggingCodec(const Folder& folder);

  const Columns& columns() const override { return columns_; }
  Windows encode(const Json& record) const override;
  Json decode(const Json& record, const Windows& windows, const Outputs& outputs) const override;
  Json select(Json result, const Selection& selection) const override;
  void check(const Selection& selection) const override;
  std::vector<std::string> fields() const override { return {"text", "entities"}; }
  std::vector<std::string> echo() const override { return {"text"}; }

 private:
  struct Known;
  struct Part {
    std::size_t first, end;  // tokens
  };
  struct Label {
    char prefix;
    std::string kind;
  };
  // Which prefixes begin a chunk, go on with one, close it, and may end it.
  struct Scheme {
    std::string_view name, begin, inside, closed, end;
  };
  struct Entity {
    std::string kind;
    std::size_t start, end;  // in code points
    double confidence;
  };

  static const Scheme& scheme_of(const std::string& name, const std::string& path);
  static Label label_of(const std::string& name);
  Label token_label(const Label& first, const Label& last) const;
  void add_entities(const Known& known, const std::vector<const float*>& scores, const Part& part,
                    std::vector<Entity>& entities) const;
  template <typename Real>
  void add_chunks(const Known& known, const Part& part, const std::vector<std::size_t>& labels,
                  const std::vector<Real>& sure, std::vector<Entity>& entities) const;
  std::vector<std::size_t> best_path(const std::vector<const float*>& scores, std::size_t start, std::size_t end) const;
  std::vector<double> marginals(const std::vector<const float*>& scores, std::size_t start, std::size_t end,
                                const std::vector<std::size_t>& path) const;

  const Folder& folder_;
  Columns columns_{{"text_a"}, {"label"}, {}};
  std::vector<Label> labels_;
  const Scheme* scheme_;
  bool is_cut_known_;
  TokenCut cut_;
  std::size_t room_;
  std::vector<double> weights_;  // of a CRF, [labels + 2, labels]; empty without one
};

}  // namespace ernie
