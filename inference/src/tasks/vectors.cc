#include "tasks/vectors.h"

#include "errors.h"

namespace ernie {

VectorCodec::VectorCodec(const Folder& folder) : TextCodec(folder) {
  const Json* pooling = folder.inference.find("vectors")->find("pooling");
  if (pooling == nullptr || pooling->text() == "none" || folder.varies.at(0)) {
    throw bad_input(folder.path, "an export that gives the vectors of tokens", "one that gives a vector for a text", 0,
                    "ernie export MODEL --task embedding --pooling mean makes one.");
  }
}

Json VectorCodec::decode(const Json&, const Windows&, const Outputs& outputs) const {
  Json vector = Json::list(), result = Json::object();
  for (const float value : outputs.at(0).at(0).values) vector.add(Json::of(shortest(value)));
  result.add("vector", std::move(vector));
  return result;
}

void VectorCodec::check(const Selection& selection) const {
  if (selection.top_k) throw usage_error("--top_k: a vector has no classes to rank. Leave it out.");
  if (selection.min_confidence) throw usage_error("--min_confidence: a vector has no confidence. Leave it out.");
}

}  // namespace ernie
