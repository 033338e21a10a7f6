#include "tasks/classification.h"

#include <algorithm>

#include "errors.h"

namespace ernie {
namespace {

constexpr float kChosen = 0.5f;  // probability from which a label is one of several

const Json& probabilities_of(const Json& result) { return *result.find("probabilities"); }

}  // namespace

ClassificationCodec::ClassificationCodec(const Folder& folder) : TextCodec(folder) {
  const std::string path = folder.path + "/labels.json";
  const Json* kind = folder.labels.find("kind");
  std::string name = "classify";
  if (kind != nullptr) name = kind->text();  // empty where it is no text
  if (name != "classify" && name != "regression" && name != "multilabel") {
    throw bad_input(path, "another kind of task", "classify, regression or multilabel");
  }
  kind_ = name == "classify" ? Kind::classes : name == "regression" ? Kind::number : Kind::several;
  if (kind_ == Kind::number) return;
  labels_ = names_of(folder.labels, path, "labels");
  const auto number = static_cast<std::int64_t>(labels_.size());
  if (count_of(folder.labels, path, "num_labels", 1, 1000000, number) != number) {
    throw bad_input(path, std::to_string(labels_.size()) + " labels", "as many as num_labels says");
  }
}

Json ClassificationCodec::decode(const Json&, const Windows&, const Outputs& outputs) const {
  const std::vector<float>& values = outputs.at(0).at(0).values;
  if (values.size() != (kind_ == Kind::number ? 1 : labels_.size())) {
    throw bad_input(folder_.path + "/labels.json", std::to_string(labels_.size()) + " labels",
                    std::to_string(values.size()) + ", the classes of the model");
  }
  Json result = Json::object();
  if (kind_ == Kind::number) {
    result.add("value", Json::of(shortest(values[0])));
    return result;
  }
  Json probabilities = Json::object(), chosen = Json::list();
  for (std::size_t i = 0; i < values.size(); ++i) {
    probabilities.add(labels_[i], Json::of(shortest(values[i])));
    if (values[i] >= kChosen) chosen.add(Json::of(labels_[i]));
  }
  if (kind_ == Kind::several) {
    result.add("labels", std::move(chosen));
  } else {
    const auto best = std::max_element(values.begin(), values.end()) - values.begin();
    result.add("label", Json::of(labels_[static_cast<std::size_t>(best)]));
  }
  result.add("probabilities", std::move(probabilities));
  return result;
}

Json ClassificationCodec::select(Json result, const Selection& selection) const {
  if (kind_ == Kind::number || (!selection.top_k && !selection.min_confidence)) return result;
  const Json::Members& all = probabilities_of(result).members();
  Json selected = Json::object();
  if (kind_ == Kind::several) {
    Json labels = Json::list();
    for (const Json& label : result.find("labels")->items()) {
      const double p = probabilities_of(result).find(label.text())->number();
      if (p >= selection.min_confidence.value_or(0)) labels.add(label);
    }
    selected.add("labels", std::move(labels));
  } else if (selection.min_confidence) {
    double confidence = all.front().second.number();
    for (const auto& [name, p] : all) confidence = std::max(confidence, p.number());
    selected.add("label", confidence >= *selection.min_confidence ? *result.find("label") : Json());
    selected.add("confidence", Json::of(confidence));
  } else {
    selected.add("label", *result.find("label"));
  }
  Json::Members ranked = all;
  if (selection.top_k) {
    std::stable_sort(ranked.begin(), ranked.end(),
                     [](const auto& a, const auto& b) { return a.second.number() > b.second.number(); });
    ranked.resize(std::min(ranked.size(), *selection.top_k));
  }
  Json probabilities = Json::object();
  for (auto& [name, p] : ranked) probabilities.add(name, p);
  selected.add("probabilities", std::move(probabilities));
  return selected;
}

void ClassificationCodec::check(const Selection& selection) const {
  if (kind_ != Kind::number) return;
  const char* reason = ": a regression gives a number, and no classes. Leave it out.";
  if (selection.top_k) throw usage_error(std::string("--top_k") + reason);
  if (selection.min_confidence) throw usage_error(std::string("--min_confidence") + reason);
}

std::vector<std::string> ClassificationCodec::fields() const {
  switch (kind_) {
    case Kind::classes: return {"label", "confidence", "probabilities"};
    case Kind::several: return {"labels", "probabilities"};
    default: return {"value"};
  }
}

}  // namespace ernie
