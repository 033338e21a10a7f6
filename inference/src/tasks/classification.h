// Classification, regression and multi-label classification.
#pragma once

#include "tasks/texts.h"

namespace ernie {

class ClassificationCodec : public TextCodec {
 public:
  explicit ClassificationCodec(const Folder& folder);

  Json decode(const Json& record, const Windows& windows, const Outputs& outputs) const override;
  Json select(Json result, const Selection& selection) const override;
  void check(const Selection& selection) const override;
  std::vector<std::string> fields() const override;

 private:
  enum class Kind { classes, number, several };
  Kind kind_;
  std::vector<std::string> labels_;
};

}  // namespace ernie
