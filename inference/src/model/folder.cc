#include "model/folder.h"

#include <cstdlib>

#include "errors.h"
#include "files.h"
#include "model/tokenizer_folder.h"
#include "text/unicode.h"

namespace ernie {
namespace {

constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;

std::string shown(const Json& value) {
  std::string text;
  value.write(text);
  return quoted(text);
}

const Json& object_of(const Json& object, const std::string& path, const char* name) {
  const Json* found = object.find(name);
  if (found == nullptr || !found->is(Json::Kind::object)) {
    throw bad_input(path, std::string("no object ") + name, "what an export writes there");
  }
  return *found;
}

std::string text_of(const Json& object, const std::string& path, const char* name, const char* otherwise) {
  const Json* found = object.find(name);
  if (found == nullptr && otherwise != nullptr) return otherwise;
  if (found == nullptr) throw bad_input(path, std::string("no ") + name, "what an export writes there");
  if (!found->is(Json::Kind::text)) throw bad_input(path, std::string(name) + " " + shown(*found), "a text");
  return found->text();
}

void read_outputs(Folder& folder, const std::string& path) {
  const Json* outputs = folder.inference.find("outputs");
  const bool is_list = outputs != nullptr && outputs->is(Json::Kind::list) && !outputs->items().empty();
  if (!is_list) throw bad_input(path, "no outputs", "a list of objects with a name and a shape");
  for (const Json& output : outputs->items()) {
    const Json* shape = output.find("shape");
    const bool holds = shape != nullptr && shape->is(Json::Kind::list) && shape->items().size() <= 32;
    if (!holds) throw bad_input(path, "an output " + shown(output), "an object with a name and a shape");
    for (const Json& size : shape->items()) {
      if (!size.is_within(-1, kMost)) throw bad_input(path, "the shape " + shown(*shape), "whole numbers from -1");
    }
    folder.varies.push_back(shape->items().size() > 1 && shape->items()[1].is_within(-1, -1));
  }
}

void read_rules(Folder& folder, const Json& said, const std::string& path, std::int64_t positions) {
  const std::int64_t longest = count_of(said, path, "max_seq_len", 3, kMost, positions < 128 ? positions : 128);
  if (longest > positions) {
    throw bad_input(path, "max_seq_len " + std::to_string(longest),
                    "at most " + std::to_string(positions) + ", the positions of the model");
  }
  folder.max_seq_len = static_cast<std::size_t>(longest);
  folder.for_cn = flag_of(said, path, "for_cn", true);
  folder.truncation = text_of(said, path, "truncation", "head");
  if (folder.truncation != "head" && folder.truncation != "tail" && folder.truncation != "head+tail") {
    throw bad_input(path, "truncation " + quoted(folder.truncation), "head, tail or head+tail");
  }
  folder.drop_html_breaks = flag_of(said, path, "drop_html_breaks", false);
  folder.task_id = count_of(said, path, "task_id", 0, kMost, 0);
}

}  // namespace

bool flag_of(const Json& object, const std::string& path, const char* name, bool otherwise) {
  const Json* found = object.find(name);
  if (found == nullptr) return otherwise;
  if (!found->is(Json::Kind::boolean)) throw bad_input(path, std::string(name) + " " + shown(*found), "true or false");
  return found->boolean();
}

std::int64_t count_of(const Json& object, const std::string& path, const char* name, std::int64_t least,
                      std::int64_t most, std::int64_t otherwise) {
  const Json* found = object.find(name);
  if (found == nullptr) return otherwise;
  if (!found->is_within(least, most)) {
    throw bad_input(path, std::string(name) + " " + shown(*found), "a whole number from " + std::to_string(least));
  }
  return std::atoll(found->text().c_str());
}

std::vector<std::string> names_of(const Json& object, const std::string& path, const char* name) {
  const Json* found = object.find(name);
  if (found == nullptr || !found->is(Json::Kind::list)) {
    throw bad_input(path, std::string("no list ") + name, "a list of names");
  }
  std::vector<std::string> names;
  for (const Json& item : found->items()) {
    if (!item.is(Json::Kind::text)) throw bad_input(path, std::string(name) + " " + shown(*found), "a list of names");
    names.push_back(item.text());
  }
  return names;
}

Folder open_folder(const std::string& path) {
  const std::string inference = path + "/inference.json", config = path + "/ernie_config.json";
  if (!is_there(path)) throw bad_input(path, "no such folder", "an exported model");
  if (!is_there(inference)) {
    throw bad_input(path, "no inference.json", "an exported model", 0,
                    "ernie export MODEL --export_format fused makes one.");
  }
  Folder folder{path, {}, false, false, {}, {}, open_tokenizer(path), 0, true, {}, false, false, 0, 1, {}, {}};
  folder.inference = read_json_object(inference, "what an export writes there");
  folder.format = text_of(folder.inference, inference, "format", nullptr);
  const std::string precision = text_of(folder.inference, inference, "precision", "");
  if (!precision.empty() && precision != "int8") throw bad_input(inference, "precision " + quoted(precision), "int8");
  folder.is_int8 = !precision.empty();
  object_of(folder.inference, inference, "constants");
  read_outputs(folder, inference);
  const Json model = read_json_object(config, "the configuration of the model");
  const std::int64_t positions = count_of(model, config, "max_position_embeddings", 3, kMost, 512);
  const std::int64_t words = count_of(model, config, "vocab_size", 1, kMost, kMost);
  if (folder.tokenizer->vocabulary().largest_id >= words) {
    throw bad_input(path + "/vocab.txt", "id " + std::to_string(folder.tokenizer->vocabulary().largest_id),
                    "ids below vocab_size " + std::to_string(words));
  }
  const std::int64_t types = count_of(model, config, "sent_type_vocab_size", 0, kMost, 0);
  folder.sentence_types =
      static_cast<std::size_t>(types > 0 ? types : count_of(model, config, "type_vocab_size", 0, kMost, 1));
  folder.has_task_id = flag_of(model, config, "use_task_id", false);
  folder.warnings = folder.tokenizer->vocabulary().warnings;
  const std::string known = text_of(folder.inference, inference, "unicode", "");
  if (!known.empty() && known != unicode::version()) {
    folder.warnings.push_back(inference + ": the tokenizer knew Unicode " + known + ", this program knows " +
                              std::string(unicode::version()) + ": characters that one of them lacks may be read " +
                              "otherwise. -DPython3_EXECUTABLE= names the Python to build with.");
  }
  folder.gives_vectors = folder.inference.find("vectors") != nullptr;
  if (folder.gives_vectors) {
    folder.labels = object_of(object_of(folder.inference, inference, "vectors"), inference, "reading");
    read_rules(folder, folder.labels, inference, positions);
  } else {
    const std::string labels = path + "/labels.json";
    folder.labels = read_json_object(labels, "the labels of a model");
    read_rules(folder, folder.labels, labels, positions);
  }
  return folder;
}

}  // namespace ernie
