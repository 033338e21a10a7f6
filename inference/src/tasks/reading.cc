#include "tasks/reading.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "errors.h"
#include "tasks/windows.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace ernie {
namespace {

constexpr std::size_t kSpecial = 3;  // [CLS], and [SEP] after the question and after the window
constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;

const std::string& text_of(const Json& record, const std::string& key) {
  const Json* value = record.find(key);
  if (value == nullptr || value->is(Json::Kind::null)) throw BadRecord{"no text in " + key, "a text in " + key};
  if (!value->is(Json::Kind::text)) {
    std::string shown;
    value->write(shown);
    throw BadRecord{key + " " + shown, "a text in " + key};
  }
  const std::u32string codes = code_points(value->text());
  if (std::all_of(codes.begin(), codes.end(), unicode::is_break)) throw BadRecord{"an empty " + key, "some text"};
  return value->text();
}

// The numbers of the largest values, at most `count` of them, in order; of equals the first.
std::vector<std::size_t> largest(const float* values, std::size_t size, std::size_t count) {
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
  order.resize(std::min(size, count));
  return order;
}

}  // namespace

// What `decode` needs of a question.
struct ReadingCodec::Known : Context {
  std::u32string context;
  Encoded document;
  std::vector<Window> windows;
  std::size_t split;  // position of the first token of the document
};

ReadingCodec::ReadingCodec(const Folder& folder) : folder_(folder) {
  const std::string path = folder.path + "/labels.json";
  const auto count = [&](const char* name, std::int64_t otherwise) {
    return static_cast<std::size_t>(count_of(folder.labels, path, name, 1, kMost, otherwise));
  };
  max_query_length_ = count("max_query_length", 64);
  doc_stride_ = count("doc_stride", 128);
  n_best_size_ = count("n_best_size", 20);
  max_answer_length_ = count("max_answer_length", 100);
  unanswerable_ = flag_of(folder.labels, path, "unanswerable", false);
  if (const Json* threshold = folder.labels.find("null_score_diff_threshold")) {
    if (!threshold->is_number()) throw bad_input(path, "another null_score_diff_threshold", "a number");
    null_score_diff_threshold_ = threshold->number();
  }
  if (folder.max_seq_len < max_query_length_ + kSpecial + 1) {
    throw bad_input(path, "max_query_length " + std::to_string(max_query_length_),
                    "one that leaves a token for the document");
  }
  if (folder.sentence_types < 2) throw bad_input(path, "a task of pairs", "a model with 2 sentence types");
  if (flag_of(folder.labels, path, "to_simplified", false)) {
    throw bad_input(path, "to_simplified true", "false: characters are not converted here", 0,
                    "`ernie predict` in Python does it.");
  }
}

Windows ReadingCodec::encode(const Json& record) const {
  const std::u32string question = code_points(text_of(record, "question"));
  auto known = std::make_unique<Known>();
  known->context = code_points(text_of(record, "context"));
  folder_.tokenizer->encode_aligned(known->context, known->document);
  std::vector<std::int32_t> asked;
  folder_.tokenizer->encode(question, asked);
  Windows windows;
  windows.cut = asked.size() > max_query_length_;
  asked.resize(std::min(asked.size(), max_query_length_));
  const std::size_t room = folder_.max_seq_len - asked.size() - kSpecial;
  known->split = asked.size() + 2;
  known->windows = cut_windows(known->document.ids.size(), room, doc_stride_);
  const Vocabulary& vocabulary = folder_.tokenizer->vocabulary();
  for (const Window& window : known->windows) {
    Row row{{vocabulary.cls}, known->split};
    row.ids.insert(row.ids.end(), asked.begin(), asked.end());
    row.ids.push_back(vocabulary.sep);
    const auto begin = known->document.ids.begin() + static_cast<std::ptrdiff_t>(window.start);
    row.ids.insert(row.ids.end(), begin, begin + static_cast<std::ptrdiff_t>(window.size));
    row.ids.push_back(vocabulary.sep);
    windows.rows.push_back(std::move(row));
  }
  windows.context = std::move(known);
  return windows;
}

// The pairs of a start and an end that may be an answer, best first: in each window its best starts and ends, where no
// other window shows more of the context of the start.
std::vector<ReadingCodec::Candidate> ReadingCodec::candidates(const Known& known, const Outputs& outputs) const {
  const std::vector<std::size_t> best = best_windows(known.windows, known.document.ids.size());
  std::vector<Candidate> found;
  for (std::size_t number = 0; number < known.windows.size(); ++number) {
    const auto [begin, size] = known.windows[number];
    const std::vector<Values>& pair = outputs.at(number);
    const std::size_t expected = known.split + size + 1;
    if (pair.size() != 2 || pair[0].values.size() != expected || pair[1].values.size() != expected) {
      throw bad_input(folder_.path, "an output of another shape", "two logits for each token");
    }
    const float* starts = pair[0].values.data() + known.split;
    const float* ends = pair[1].values.data() + known.split;
    const std::vector<std::size_t> last = largest(ends, size, n_best_size_);
    for (const std::size_t first : largest(starts, size, n_best_size_)) {
      if (best[begin + first] != number) continue;
      for (const std::size_t end : last) {
        if (end < first || end - first >= max_answer_length_) continue;
        found.push_back({begin + first, begin + end, static_cast<double>(starts[first]), static_cast<double>(ends[end])});
      }
    }
  }
  std::stable_sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
    return a.start_logit + a.end_logit > b.start_logit + b.end_logit;
  });
  return found;
}

// The best candidates as answers of different texts.
std::vector<ReadingCodec::Answer> ReadingCodec::distinct_answers(const Known& known, const Outputs& outputs) const {
  std::vector<Answer> found;
  std::unordered_set<std::u32string> seen;
  for (const Candidate& candidate : candidates(known, outputs)) {
    if (found.size() == n_best_size_) break;
    const auto first = static_cast<std::ptrdiff_t>(candidate.first), last = static_cast<std::ptrdiff_t>(candidate.last);
    const auto& starts = known.document.starts;
    const auto& ends = known.document.ends;
    const std::size_t start = *std::min_element(starts.begin() + first, starts.begin() + last + 1);
    const std::size_t end = *std::max_element(ends.begin() + first, ends.begin() + last + 1);
    std::u32string text = known.context.substr(start, end - start);
    if (!seen.insert(text).second) continue;
    found.push_back({std::move(text), true, start, end, candidate.start_logit, candidate.end_logit, 0});
  }
  return found;
}

// "No answer" of the window where it is least likely: one that holds the answer is enough to say that there is one.
ReadingCodec::Answer ReadingCodec::no_answer(const Outputs& outputs) {
  Answer least{U"", false, 0, 0, 0, 0, 0};
  for (std::size_t number = 0; number < outputs.size(); ++number) {
    const double start = outputs[number].at(0).values.at(0), end = outputs[number].at(1).values.at(0);
    if (number > 0 && start + end >= least.start_logit + least.end_logit) continue;
    least.start_logit = start;
    least.end_logit = end;
  }
  return least;
}

void ReadingCodec::add_probabilities(std::vector<Answer>& answers) {
  double top = answers[0].start_logit + answers[0].end_logit;
  for (const Answer& answer : answers) top = std::max(top, answer.start_logit + answer.end_logit);
  std::vector<double> shares;
  for (const Answer& answer : answers) shares.push_back(std::exp(answer.start_logit + answer.end_logit - top));
  const double sum = pairwise_sum(shares.data(), shares.size());
  for (std::size_t i = 0; i < answers.size(); ++i) answers[i].probability = shares[i] / sum;
}

Json ReadingCodec::decode(const Json& record, const Windows& windows, const Outputs& outputs) const {
  const Known& known = static_cast<const Known&>(*windows.context);
  std::vector<Answer> answers = distinct_answers(known, outputs);
  if (unanswerable_) {
    answers.push_back(no_answer(outputs));
    std::stable_sort(answers.begin(), answers.end(), [](const Answer& a, const Answer& b) {
      return a.start_logit + a.end_logit > b.start_logit + b.end_logit;
    });
  } else if (answers.empty()) {
    answers.push_back({U"empty", false, 0, 0, 0, 0, 0});  // what 2019 writes when nothing is left
  }
  add_probabilities(answers);
  const Answer* best = &answers[0];
  if (unanswerable_) {
    const auto of_place = [&](bool has_place) {
      return std::find_if(answers.begin(), answers.end(), [&](const Answer& a) { return a.has_place == has_place; });
    };
    const auto found = of_place(true), none = of_place(false);
    const bool is_none = found == answers.end() || none->start_logit + none->end_logit - (found->start_logit + found->end_logit) >
                                                       null_score_diff_threshold_;
    best = is_none ? &*none : &*found;
  }
  Json result = Json::object(), n_best = Json::list();
  if (const Json* id = record.find("id")) result.add("id", *id);
  const auto place = [&](std::size_t at) { return best->has_place ? Json::of(static_cast<std::int64_t>(at)) : Json(); };
  result.add("answer", Json::of(best->has_place ? to_utf8(best->text) : std::string()));
  result.add("start", place(best->start));
  result.add("end", place(best->end));
  result.add("probability", Json::of(best->has_place || unanswerable_ ? best->probability : 0.0));
  for (const Answer& answer : answers) {
    if (answer.has_place || answer.text.empty()) n_best.add(json_of(answer));
  }
  result.add("n_best", std::move(n_best));
  return result;
}

Json ReadingCodec::json_of(const Answer& answer) {
  const auto place = [&](std::size_t at) { return answer.has_place ? Json::of(static_cast<std::int64_t>(at)) : Json(); };
  Json made = Json::object();
  made.add("text", Json::of(to_utf8(answer.text)));
  made.add("start", place(answer.start));
  made.add("end", place(answer.end));
  made.add("start_logit", Json::of(answer.start_logit));
  made.add("end_logit", Json::of(answer.end_logit));
  made.add("probability", Json::of(answer.probability));
  return made;
}

Json ReadingCodec::select(Json result, const Selection& selection) const {
  const bool is_sure = result.find("probability")->number() >= selection.min_confidence.value_or(0);
  Json selected = Json::object();
  for (const auto& [name, value] : result.members()) {
    if (!is_sure && (name == "answer" || name == "start" || name == "end")) {
      selected.add(name, Json());
    } else if (name == "n_best" && selection.top_k && value.items().size() > *selection.top_k) {
      Json best = Json::list();
      for (std::size_t i = 0; i < *selection.top_k; ++i) best.add(value.items()[i]);
      selected.add(name, std::move(best));
    } else {
      selected.add(name, value);
    }
  }
  return selected;
}

void ReadingCodec::check(const Selection& selection) const {
  if (selection.top_k && *selection.top_k > n_best_size_) {
    throw usage_error("--top_k " + std::to_string(*selection.top_k) + ": this model keeps " +
                      std::to_string(n_best_size_) + " answers (n_best_size). Ask for at most so many.");
  }
}

}  // namespace ernie
