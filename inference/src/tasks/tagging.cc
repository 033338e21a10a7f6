#include "tasks/tagging.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "errors.h"
#include "tasks/windows.h"
#include "text/utf8.h"

namespace ernie {
namespace {

constexpr char32_t kSeparator = 2;  // between given tokens

double log_sum(const std::vector<double>& values) {
  const double top = *std::max_element(values.begin(), values.end());
  std::vector<double> shares;
  for (const double value : values) shares.push_back(std::exp(value - top));
  return std::log(pairwise_sum(shares.data(), shares.size())) + top;
}

// The mean with the digits that results have.
template <typename Real>
double mean(const Real* values, std::size_t count) {
  const Real found = pairwise_sum(values, count) / static_cast<Real>(count);
  char text[32];
  std::snprintf(text, sizeof text, "%.8g", static_cast<double>(found));
  return std::strtod(text, nullptr);
}

// Whether a script is written without spaces.
bool is_wide(char32_t c) {
  return (c >= 0x2E80 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFF00 && c <= 0xFFEF) ||
         (c >= 0x20000 && c <= 0x3FFFF);
}

bool is_list_of_texts(const Json* value) {
  if (value == nullptr || !value->is(Json::Kind::list)) return false;
  return std::all_of(value->items().begin(), value->items().end(), [](const Json& v) { return v.is(Json::Kind::text); });
}

}  // namespace

// What `decode` needs of a text.
struct TaggingCodec::Known : Context {
  std::u32string text;
  std::vector<Slice> tokens;
  std::vector<std::size_t> first, last;  // pieces of each token
  std::vector<Part> parts;
  std::vector<Window> windows;
};

TaggingCodec::TaggingCodec(const Folder& folder)
    : folder_(folder),
      is_cut_known_(folder.labels.find("token_cut") != nullptr),
      cut_(folder.labels.find("token_cut"), folder.path + "/labels.json"),
      room_(folder.max_seq_len - 2) {
  const std::string path = folder.path + "/labels.json";
  const Json* map = folder.labels.find("label_map");
  if (map == nullptr || !map->is(Json::Kind::object) || map->members().empty()) {
    throw bad_input(path, "no object label_map", "label -> id");
  }
  const auto count = static_cast<std::int64_t>(map->members().size());
  std::vector<const std::string*> names(map->members().size());
  for (const auto& [name, id] : map->members()) {
    if (!id.is_within(0, count - 1) || names[static_cast<std::size_t>(id.number())] != nullptr) {
      throw bad_input(path, "an id of " + quoted(name) + " that cannot be", "the ids from 0, each once");
    }
    names[static_cast<std::size_t>(id.number())] = &name;
  }
  if (count_of(folder.labels, path, "num_labels", 1, 1000000, count) != count) {
    throw bad_input(path, "another num_labels", std::to_string(count) + ", as label_map has");
  }
  const Json* scheme = folder.labels.find("chunk_scheme");
  scheme_ = &scheme_of(scheme == nullptr ? "" : scheme->text(), path);
  for (const std::string* name : names) {
    labels_.push_back(label_of(*name));
    const bool known = *name == "O" || ((name->size() == 1 || (*name)[1] == '-') &&
                                        (scheme_->begin.find((*name)[0]) != std::string_view::npos ||
                                         scheme_->inside.find((*name)[0]) != std::string_view::npos));
    if (!known) throw bad_input(path, "the label " + quoted(*name), "labels of the scheme " + std::string(scheme_->name));
  }
  if (!flag_of(folder.labels, path, "use_crf", false)) return;
  const Json* weights = folder.inference.find("constants")->find("crfw");
  const std::size_t rows = weights == nullptr ? 0 : weights->items().size();
  if (rows != labels_.size() + 2) throw bad_input(folder.path + "/inference.json", "no crfw", "the weights of the CRF");
  for (const Json& row : weights->items()) {
    for (const Json& value : row.items()) weights_.push_back(value.number());
  }
  if (weights_.size() != rows * labels_.size()) {
    throw bad_input(folder.path + "/inference.json", "crfw of another size", "a value for each pair of labels");
  }
}

const TaggingCodec::Scheme& TaggingCodec::scheme_of(const std::string& name, const std::string& path) {
  static constexpr Scheme kSchemes[] = {
      {"IO", "I", "I", "", "I"},
      {"IOB", "BI", "I", "", "BI"},
      {"IOE", "IE", "IE", "E", "E"},
      {"IOBES", "BS", "IE", "ES", "ES"},
  };
  for (const Scheme& scheme : kSchemes) {
    if (scheme.name == name) return scheme;
  }
  throw bad_input(path, "chunk_scheme " + quoted(name), "IO, IOB, IOE or IOBES");
}

// `B-PER` is B and PER, `O` is O and nothing, `B` alone is B and _.
TaggingCodec::Label TaggingCodec::label_of(const std::string& name) {
  if (name == "O" || name.empty()) return {'O', ""};
  return {name[0], name.size() > 2 ? name.substr(2) : "_"};
}

Windows TaggingCodec::encode(const Json& record) const {
  const Json* given = record.find("text_a");
  const bool is_list = is_list_of_texts(given);
  if (given == nullptr || given->is(Json::Kind::null)) throw BadRecord{"nothing as text_a", "a text"};
  if (!is_list && !given->is(Json::Kind::text)) {
    throw BadRecord{std::string("a ") + type_name(*given) + " as text_a", "a text"};
  }
  auto known = std::make_unique<Known>();
  if (is_list) {
    for (const Json& token : given->items()) {
      if (&token != &given->items()[0]) known->text += kSeparator;
      known->text += code_points(token.text());
    }
  } else {
    known->text = code_points(given->text());
  }
  const std::u32string& text = known->text;
  if (!is_cut_known_) {  // a model from before the record: U+0002 counts as a space, as it did
    std::u32string spaced = text;
    std::replace(spaced.begin(), spaced.end(), kSeparator, U' ');
    known->tokens = cut_.slices(spaced, *folder_.tokenizer);
  } else if (text.find(kSeparator) == std::u32string::npos) {
    known->tokens = cut_.slices(text, *folder_.tokenizer);
  } else {
    for (std::size_t start = 0; start <= text.size();) {
      const std::size_t end = std::min(text.find(kSeparator, start), text.size());
      if (start < end) known->tokens.emplace_back(start, end);
      start = end + 1;
    }
  }
  std::vector<std::int32_t> ids;
  for (const auto& [start, end] : known->tokens) {
    known->first.push_back(ids.size());
    folder_.tokenizer->encode(std::u32string_view(text).substr(start, end - start), ids);
    if (ids.size() == known->first.back()) ids.push_back(folder_.tokenizer->vocabulary().unk);
    known->last.push_back(ids.size() - 1);
  }
  // A text that is longer than the model reads is labelled sentence by sentence.
  if (ids.size() > room_) {
    std::vector<std::size_t> edges = sentence_ends(text);
    edges.push_back(text.size());
    std::size_t first = 0;
    for (const std::size_t edge : edges) {
      const auto behind = std::lower_bound(known->tokens.begin(), known->tokens.end(), edge,
                                           [](const Slice& token, std::size_t e) { return token.first < e; });
      const auto end = static_cast<std::size_t>(behind - known->tokens.begin());
      if (first < end) known->parts.push_back({first, end});
      first = std::max(first, end);
    }
  } else {
    known->parts.push_back({0, known->tokens.size()});
  }
  Windows windows;
  const Vocabulary& vocabulary = folder_.tokenizer->vocabulary();
  for (const Part& part : known->parts) {
    const bool has_tokens = part.first < part.end;
    const std::size_t start = has_tokens ? known->first[part.first] : 0;
    const std::size_t pieces = has_tokens ? known->last[part.end - 1] + 1 - start : 0;
    for (const Window& window : cut_windows(pieces, room_, std::max<std::size_t>(room_ / 2, 1))) {
      known->windows.push_back({start + window.start, window.size});
      const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(start + window.start);
      Row row{{vocabulary.cls}, window.size + 2};
      row.ids.insert(row.ids.end(), begin, begin + static_cast<std::ptrdiff_t>(window.size));
      row.ids.push_back(vocabulary.sep);
      windows.rows.push_back(std::move(row));
    }
  }
  windows.context = std::move(known);
  return windows;
}

Json TaggingCodec::decode(const Json& record, const Windows& windows, const Outputs& outputs) const {
  const Known& known = static_cast<const Known&>(*windows.context);
  std::vector<Entity> entities;
  if (!known.tokens.empty()) {
    const std::vector<std::size_t> best = best_windows(known.windows, known.last.back() + 1);
    std::vector<const float*> scores;  // of each piece, for each label
    for (std::size_t i = 0; i < best.size(); ++i) {
      const Values& of_window = outputs.at(best[i]).at(0);
      if (of_window.width != labels_.size() || of_window.count != known.windows[best[i]].size + 2) {
        throw bad_input(folder_.path, "an output of another shape", "a score for each token and label");
      }
      const std::size_t place = 1 + i - known.windows[best[i]].start;  // after [CLS]
      scores.push_back(of_window.values.data() + place * of_window.width);
    }
    for (const Part& part : known.parts) add_entities(known, scores, part, entities);
  }
  const std::u32string_view text = known.text;
  const bool is_list = is_list_of_texts(record.find("text_a"));
  // Of a list of tokens the result is a text to read, with places in both.
  std::u32string shown;
  std::vector<std::size_t> starts, sizes;
  if (is_list) {
    std::u32string_view before;
    for (std::size_t start = 0, number = 0; start <= text.size(); ++number) {
      const std::size_t end = std::min(text.find(kSeparator, start), text.size());
      const std::u32string_view token = text.substr(start, end - start);
      const bool is_joined = number == 0 || (!before.empty() && is_wide(before.back())) ||
                             (!token.empty() && is_wide(token.front()));
      if (!is_joined) shown += U' ';
      starts.push_back(shown.size());
      sizes.push_back(token.size());
      shown += token;
      before = token;
      start = end + 1;
    }
  } else {
    shown = known.text;
  }
  Json found = Json::list();
  for (const Entity& entity : entities) {
    std::size_t start = entity.start, end = entity.end, first = 0, last = 0;
    if (is_list) {
      first = static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(start), kSeparator));
      last = static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), kSeparator));
      start = starts[first];
      end = starts[last] + sizes[last];
    }
    Json made = Json::object();
    made.add("type", Json::of(entity.kind));
    made.add("text", Json::of(to_utf8(std::u32string_view(shown).substr(start, end - start))));
    made.add("start", Json::of(static_cast<std::int64_t>(start)));
    made.add("end", Json::of(static_cast<std::int64_t>(end)));
    made.add("confidence", Json::of(entity.confidence));
    if (is_list) {
      made.add("start_token", Json::of(static_cast<std::int64_t>(first)));
      made.add("end_token", Json::of(static_cast<std::int64_t>(last + 1)));
    }
    found.add(std::move(made));
  }
  Json result = Json::object();
  result.add("text", Json::of(to_utf8(shown)));
  result.add("entities", std::move(found));
  return result;
}

void TaggingCodec::add_entities(const Known& known, const std::vector<const float*>& scores, const Part& part,
                                std::vector<Entity>& entities) const {
  const std::size_t start = known.first[part.first], end = known.last[part.end - 1] + 1;
  if (!weights_.empty()) {
    const std::vector<std::size_t> path = best_path(scores, start, end);
    return add_chunks(known, part, path, marginals(scores, start, end, path), entities);
  }
  std::vector<std::size_t> path;
  std::vector<float> sure;
  for (std::size_t i = start; i < end; ++i) {
    const auto best = std::max_element(scores[i], scores[i] + labels_.size()) - scores[i];
    path.push_back(static_cast<std::size_t>(best));
    sure.push_back(scores[i][best]);
  }
  add_chunks(known, part, path, sure, entities);
}

// The chunks of a part. labels, sure: of its pieces.
template <typename Real>
void TaggingCodec::add_chunks(const Known& known, const Part& part, const std::vector<std::size_t>& labels,
                              const std::vector<Real>& sure, std::vector<Entity>& entities) const {
  const std::size_t shift = known.first[part.first], none = part.end;
  std::size_t start = none;
  Label before{'O', ""};
  std::vector<Real> confidences;  // of the tokens
  for (std::size_t i = part.first; i <= part.end; ++i) {
    Label label{'O', ""};
    if (i < part.end) {
      label = token_label(labels_[labels[known.first[i] - shift]], labels_[labels[known.last[i] - shift]]);
      confidences.push_back(sure[known.first[i] - shift]);
    }
    const auto is_among = [](char prefix, std::string_view prefixes) { return prefixes.find(prefix) != prefixes.npos; };
    const bool goes_on = label.kind == before.kind && is_among(label.prefix, scheme_->inside) &&
                         !is_among(before.prefix, scheme_->closed);
    if (start != none && !goes_on) {
      if (is_among(before.prefix, scheme_->end)) {
        const double confidence = mean(confidences.data() + (start - part.first), i - start);
        entities.push_back({before.kind, known.tokens[start].first, known.tokens[i - 1].second, confidence});
      }
      start = none;
    }
    if (start == none && is_among(label.prefix, scheme_->begin)) start = i;
    before = label;
  }
}

// The first piece gives the type and whether a chunk begins; the last piece whether it ends.
TaggingCodec::Label TaggingCodec::token_label(const Label& first, const Label& last) const {
  const bool is_same = first.prefix == last.prefix && first.kind == last.kind;
  if (is_same || first.prefix == 'O' || scheme_->name == "IO" || scheme_->name == "IOB") return first;
  const bool begins = first.prefix == 'B' || first.prefix == 'S';
  const bool ends = (last.prefix == 'E' || last.prefix == 'S') && last.kind == first.kind;
  return {begins ? (ends ? 'S' : 'B') : (ends ? 'E' : 'I'), first.kind};
}

// Viterbi over a linear-chain CRF. Row 0 of the weights scores the first label, row 1 the last one, row 2 + i the labels
// that follow label i.
std::vector<std::size_t> TaggingCodec::best_path(const std::vector<const float*>& scores, std::size_t start,
                                                 std::size_t end) const {
  const std::size_t count = labels_.size();
  const double* w = weights_.data();
  std::vector<std::vector<std::size_t>> from(end - start, std::vector<std::size_t>(count));
  std::vector<double> score(count), next(count);
  for (std::size_t k = 0; k < count; ++k) score[k] = w[k] + static_cast<double>(scores[start][k]);
  for (std::size_t t = start + 1; t < end; ++t) {
    for (std::size_t k = 0; k < count; ++k) {
      std::size_t best = 0;
      for (std::size_t i = 1; i < count; ++i) {
        if (score[i] + w[(2 + i) * count + k] > score[best] + w[(2 + best) * count + k]) best = i;
      }
      from[t - start][k] = best;
      next[k] = score[best] + w[(2 + best) * count + k] + static_cast<double>(scores[t][k]);
    }
    score.swap(next);
  }
  std::size_t label = 0;
  for (std::size_t k = 1; k < count; ++k) {
    if (score[k] + w[count + k] > score[label] + w[count + label]) label = k;
  }
  std::vector<std::size_t> path(end - start);
  for (std::size_t t = end - start; t-- > 0;) {
    path[t] = label;
    label = from[t][label];
  }
  return path;
}

// The probability of each label of a path: forward and backward sums, in logarithms.
std::vector<double> TaggingCodec::marginals(const std::vector<const float*>& scores, std::size_t start, std::size_t end,
                                            const std::vector<std::size_t>& path) const {
  const std::size_t count = labels_.size(), length = end - start;
  const double* w = weights_.data();
  const auto emission = [&](std::size_t t, std::size_t k) { return static_cast<double>(scores[start + t][k]); };
  std::vector<std::vector<double>> forward(length, std::vector<double>(count)), backward = forward;
  std::vector<double> terms(count);
  for (std::size_t k = 0; k < count; ++k) {
    forward[0][k] = w[k] + emission(0, k);
    backward[length - 1][k] = w[count + k];
  }
  for (std::size_t t = 1; t < length; ++t) {
    for (std::size_t k = 0; k < count; ++k) {
      for (std::size_t i = 0; i < count; ++i) terms[i] = forward[t - 1][i] + w[(2 + i) * count + k];
      forward[t][k] = log_sum(terms) + emission(t, k);
    }
  }
  for (std::size_t t = length - 1; t-- > 0;) {
    for (std::size_t k = 0; k < count; ++k) {
      for (std::size_t i = 0; i < count; ++i) {
        terms[i] = w[(2 + k) * count + i] + (emission(t + 1, i) + backward[t + 1][i]);
      }
      backward[t][k] = log_sum(terms);
    }
  }
  std::vector<double> sure(length);
  for (std::size_t t = 0; t < length; ++t) {
    for (std::size_t k = 0; k < count; ++k) terms[k] = forward[t][k] + backward[t][k];
    sure[t] = std::exp(terms[path[t]] - log_sum(terms));
  }
  return sure;
}

Json TaggingCodec::select(Json result, const Selection& selection) const {
  if (!selection.min_confidence) return result;
  Json kept = Json::list(), selected = Json::object();
  for (const Json& entity : result.find("entities")->items()) {
    if (entity.find("confidence")->number() >= *selection.min_confidence) kept.add(entity);
  }
  selected.add("text", *result.find("text"));
  selected.add("entities", std::move(kept));
  return selected;
}

void TaggingCodec::check(const Selection& selection) const {
  if (selection.top_k) throw usage_error("--top_k: a model that tags gives each entity one type. Leave it out.");
}

}  // namespace ernie
