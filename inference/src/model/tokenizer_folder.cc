#include "model/tokenizer_folder.h"

#include <optional>

#include "errors.h"
#include "files.h"
#include "json.h"
#include "model/folder.h"
#include "sha256.h"
#include "text/subword.h"
#include "text/word_pieces.h"
#include "text/words.h"

namespace ernie {
namespace {

using Kind = TokenizerSettings::Kind;

constexpr char kFull[] = "FullTokenizer", kSubword[] = "SubwordTokenizer", kSubwordCharacters[] = "SubwordCharTokenizer";
constexpr char kWords[] = "WordTokenizer", kCharacters[] = "CharTokenizer";
constexpr char kKnown[] = "FullTokenizer, CharTokenizer, SubwordTokenizer, SubwordCharTokenizer or WordTokenizer";
constexpr std::size_t kMostBytes = std::size_t{1} << 27;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 31;

std::optional<std::string> class_of(const std::string& name) {
  if (name == "BertTokenizer") return kFull;  // Hugging Face's name for it
  for (const char* known : {kFull, kCharacters, kSubword, kSubwordCharacters, kWords}) {
    if (name == known) return name;
  }
  return std::nullopt;
}

// What a file says; unset where it says nothing.
struct Said {
  std::optional<std::string> kind;
  std::optional<bool> lower, strip, ideographs;
  std::int64_t tokens = 0;  // how many the vocabulary had when the folder was written
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
    if (kind->is(Json::Kind::text)) said.kind = class_of(kind->text());
    if (!said.kind) {
      std::string shown;
      kind->write(shown);
      throw bad_input(path, std::string(kind_name) + " " + quoted(shown), kKnown);
    }
  }
  said.tokens = count_of(values, path, "vocab_tokens", 1, kMostTokens, 0);
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

// Words come from a lexer, of which only the cut at white space is here.
void refuse_lexers(const std::string& path) {
  if (!is_there(path)) return;
  const Json config = read_json_object(path, "a JSON object");
  const Json* lexer = config.find("lexer");
  if (lexer == nullptr || (lexer->is(Json::Kind::text) && lexer->text() == "spaces")) return;
  std::string shown;
  lexer->write(shown);
  throw bad_input(path, "lexer " + quoted(shown), "spaces: texts are cut into words by a lexer in Python alone", 0,
                  "`ernie predict` does it.");
}

// That a file is the one which the folder was written with.
void check_sum(const Json& recorded, const char* name, const std::string& sum, const std::string& path,
               const std::string& config, const char* what) {
  const Json* found = recorded.find(name);
  const std::string said = found != nullptr && found->is(Json::Kind::text) ? found->text() : "nothing";
  if (said == sum) return;
  throw bad_input(path, "SHA-256 " + sum.substr(0, 12) + "...",
                  quoted(said.substr(0, 12)) + "..., as " + config + " says: the " + what +
                      " that the model was trained with");
}

std::unique_ptr<const Tokenizer> open_subword(const std::string& folder, Vocabulary vocabulary, bool lower) {
  const std::string place = folder + "/subword", config = folder + "/tokenizer_config.json";
  const std::string model = place + "/spm_cased_simp_sampled.model", words = place + "/dict.wordseg.txt";
  const std::string pickled = place + "/dict.wordseg.pickle";
  if (!is_there(place)) throw bad_input(place, "no such folder", std::string("the files of ") + kSubword);
  if (!is_there(words) && is_there(pickled)) {
    throw bad_input(pickled, "a pickle", "dict.wordseg.txt, one word a line", 0, "ernie export makes one of it.");
  }
  const std::string content = read_file(model, kMostBytes, "a sentencepiece model");
  WordList list(read_file(words, kMostBytes, "a word dictionary"), words);
  const Json said = read_json_object(config, "a JSON object");
  if (const Json* recorded = said.find("subword")) {
    if (!recorded->is(Json::Kind::object)) throw bad_input(config, "another subword", "the sums of two files");
    check_sum(*recorded, "subword/spm_cased_simp_sampled.model", sha256(content), model, config, "file");
    check_sum(*recorded, "words", list.sum(), words, config, "words");
  }
  return std::make_unique<SubwordTokenizer>(std::move(vocabulary), lower, std::move(list),
                                            open_piece_model(content, model), model, folder + "/vocab.txt");
}

}  // namespace

std::unique_ptr<const Tokenizer> open_tokenizer(const std::string& folder) {
  const std::string config_path = folder + "/tokenizer_config.json";
  const Said config = read_said(config_path, "tokenizer_class");
  const Said labels = read_said(folder + "/labels.json", "tokenizer");
  const std::string kind = agreed<std::string>(config.kind, labels.kind, folder, "tokenizer", kFull);
  const bool lower = agreed(config.lower, labels.lower, folder, "do_lower_case", true);
  if (kind == kWords) refuse_lexers(config_path);
  const std::string vocab_path = folder + "/vocab.txt";
  Vocabulary vocabulary = read_vocabulary(vocab_path);
  if (const auto count = static_cast<std::int64_t>(vocabulary.count); count < config.tokens) {
    throw bad_input(vocab_path, std::to_string(count) + " tokens",
                    std::to_string(config.tokens) + ", as " + config_path + " says", 0, "Copy the whole file again.");
  }
  if (kind == kWords) return std::make_unique<WordTokenizer>(std::move(vocabulary), lower);
  if (kind == kSubword) return open_subword(folder, std::move(vocabulary), lower);
  if (kind != kSubwordCharacters && is_there(folder + "/subword")) {
    throw bad_input(folder + "/subword", "the files of " + std::string(kSubword), "none beside " + kind, 0,
                    "Remove the one that is wrong.");
  }
  TokenizerSettings settings;
  settings.kind = kind == kCharacters ? Kind::characters : kind == kSubwordCharacters ? Kind::subword_characters : Kind::full;
  settings.lower = lower;
  settings.strip = config.strip;
  settings.ideographs = config.ideographs.value_or(true);
  return std::make_unique<WordPieceTokenizer>(std::move(vocabulary), settings);
}

}  // namespace ernie
