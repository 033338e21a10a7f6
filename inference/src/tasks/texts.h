// One text or a pair of texts as a row of tokens, for classes and for vectors.
#pragma once

#include <string>
#include <vector>

#include "model/folder.h"
#include "tasks/codec.h"

namespace ernie {

class TextCodec : public Codec {
 public:
  explicit TextCodec(const Folder& folder);

  const Columns& columns() const override { return columns_; }
  Windows encode(const Json& record) const override;

 protected:
  const Folder& folder_;

 private:
  std::vector<std::int32_t> tokens(const std::string& text) const;
  void add_kept(const std::vector<std::int32_t>& tokens, std::size_t length, std::vector<std::int32_t>& to) const;

  Columns columns_;
};

}  // namespace ernie
