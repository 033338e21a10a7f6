// Vectors of texts, of an export with `ernie export --task embedding`.
#pragma once

#include "tasks/texts.h"

namespace ernie {

class VectorCodec : public TextCodec {
 public:
  explicit VectorCodec(const Folder& folder);

  Json decode(const Json& record, const Windows& windows, const Outputs& outputs) const override;
  Json select(Json result, const Selection&) const override { return result; }
  void check(const Selection& selection) const override;
  std::vector<std::string> fields() const override { return {"vector"}; }
};

}  // namespace ernie
