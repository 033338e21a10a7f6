#include "model/tokenizer_folder.h"

#include <optional>

#include "errors.h"
#include "files.h"
#include "json.h"

namespace ernie {
namespace {

using Kind = TokenizerSettings::Kind;

constexpr const char* kKnown = "FullTokenizer, CharTokenizer or SubwordCharTokenizer";

std::optional<Kind> kind_of(const std::string& name) {
  // The second name is Hugging Face's for the first.
  if (name == "FullTokenizer" || name == "BertTokenizer") return Kind::full;
  if (name == "CharTokenizer") return Kind::characters;
  if (name == "SubwordCharTokenizer") return Kind::subword_characters;
  return std::nullopt;
}

// What a file says; unset where it says nothing.
struct Said {
  std::optional<Kind> kind;
  std::optional<bool> lower, strip, ideographs;
};

std::optional<bool> flag(const Json& values, const std::string& path, const char* name) {
  const Json* value = values.find(name);
  if (value == nullptr || value->is(Json::Kind::null)) return std::nullopt;
  if (value->is(Json::Kind::boolean)) return value->boolean();
  std::string shown;
  value->write(shown);
  throw bad_input(path, std::string(name) + " " + quoted(shown), "true or false");
}

Said read_said(const std::string& path, const char* kind_name) {
  if (!is_there(path)) return {};
  const Json values = read_json_object(path, "a JSON object");
  Said said;
  if (const Json* kind = values.find(kind_name)) {
    if (kind->is(Json::Kind::text)) said.kind = kind_of(kind->text());
    if (!said.kind) {
      std::string shown;
      kind->write(shown);
      throw bad_input(path, std::string(kind_name) + " " + quoted(shown), kKnown);
    }
  }
  said.lower = flag(values, path, "do_lower_case");
  said.strip = flag(values, path, "strip_accents");
  said.ideographs = flag(values, path, "tokenize_chinese_chars");
  return said;
}

template <typename Value>
Value agreed(const std::optional<Value>& config, const std::optional<Value>& labels, const std::string& folder,
             const char* name, Value otherwise) {
  if (config && labels && *config != *labels) {
    throw bad_input(folder + "/labels.json", std::string("another ") + name, "that of tokenizer_config.json", 0,
                    "Both belong to the model: mend the one that is wrong.");
  }
  return config ? *config : labels.value_or(otherwise);
}

}  // namespace

Tokenizer open_tokenizer(const std::string& folder) {
  const Said config = read_said(folder + "/tokenizer_config.json", "tokenizer_class");
  const Said labels = read_said(folder + "/labels.json", "tokenizer");
  TokenizerSettings settings;
  settings.kind = agreed(config.kind, labels.kind, folder, "tokenizer", Kind::full);
  settings.lower = agreed(config.lower, labels.lower, folder, "do_lower_case", true);
  settings.strip = config.strip;
  settings.ideographs = config.ideographs.value_or(true);
  return Tokenizer(read_vocabulary(folder + "/vocab.txt"), settings);
}

}  // namespace ernie
