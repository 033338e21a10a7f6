#include "tasks/texts.h"

#include <algorithm>

#include "errors.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace ernie {
namespace {

const std::string kTexts[] = {"text_a", "text_b"};

Columns columns_of(const Folder& folder) {
  const Json* learnt = folder.labels.find("columns");
  if (learnt == nullptr) return {{"text_a"}, {"text_b"}, {}};
  const std::string path = folder.path + "/labels.json";
  Columns columns{names_of(folder.labels, path, "columns"), {}, {}};
  if (columns.required != std::vector<std::string>{"text_a"} &&
      columns.required != std::vector<std::string>{"text_a", "text_b"}) {
    throw bad_input(path, "columns of another kind", "text_a, or text_a and text_b");
  }
  if (columns.required.size() == 1) columns.refused = {"text_b"};
  return columns;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string listed(const Json& record) {
  std::string names;
  for (const auto& [name, value] : record.members()) {
    if (!value.is(Json::Kind::null)) names += (names.empty() ? "" : ", ") + quoted(name);
  }
  return names;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " and ") + name;
  return text;
}

// The text in a column; null where there is none. Throws BadRecord.
const std::string* text_of(const Json& record, const std::string& name, const Columns& columns) {
  const Json* value = record.find(name);
  if (value == nullptr || value->is(Json::Kind::null)) {
    if (!has(columns.required, name)) return nullptr;
    const std::string names = listed(record);
    const std::string found =
        value != nullptr ? "null as " + name : "nothing as " + name + (names.empty() ? "" : " beside " + names);
    throw BadRecord{found, joined(columns.required) + ", from which the model learnt"};
  }
  const bool is_text = value->is(Json::Kind::text);
  if (has(columns.refused, name) && !(is_text && value->text().empty())) {
    throw BadRecord{"a text as " + name, "none: the model learnt from text_a alone"};
  }
  if (!is_text) throw BadRecord{std::string("a ") + type_name(*value) + " as " + name, "a text"};
  return &value->text();
}

// Spaces in the place of `<br>`, `<br/>` and `<br />`.
void drop_html_breaks(std::u32string& text) {
  for (std::size_t at = text.find('<'); at != std::u32string::npos; at = text.find('<', at + 1)) {
    if (text.size() - at < 4 || (text[at + 1] | 0x20) != 'b' || (text[at + 2] | 0x20) != 'r') continue;
    std::size_t end = at + 3;
    while (end < text.size() && unicode::is_break(text[end])) ++end;
    if (end < text.size() && text[end] == '/') ++end;
    if (end < text.size() && text[end] == '>') std::fill(&text[at], &text[end] + 1, U' ');
  }
}

// What is left of two texts when tokens are dropped from the longer one, from the second on a tie.
std::pair<std::size_t, std::size_t> truncated(std::size_t a, std::size_t b, std::size_t room) {
  if (a + b <= room) return {a, b};
  if (b <= room / 2) return {room - b, b};
  if (a <= (room + 1) / 2) return {a, room - a};
  return {(room + 1) / 2, room / 2};
}

}  // namespace

const char* type_name(const Json& value) {
  constexpr const char* kNames[] = {"NoneType", "bool", "int", "float", "str", "list", "dict"};
  return kNames[static_cast<int>(value.kind())];
}

TextCodec::TextCodec(const Folder& folder) : folder_(folder), columns_(columns_of(folder)) {}

Windows TextCodec::encode(const Json& record) const {
  const std::string* text_a = text_of(record, kTexts[0], columns_);
  const std::string* text_b = text_of(record, kTexts[1], columns_);
  if (text_a == nullptr) throw BadRecord{"nothing as text_a", "a text"};
  const std::vector<std::int32_t> a = tokens(*text_a);
  const std::vector<std::int32_t> b = text_b == nullptr ? std::vector<std::int32_t>{} : tokens(*text_b);
  const Vocabulary& vocabulary = folder_.tokenizer->vocabulary();
  const bool is_pair = !b.empty();
  const auto [length_a, length_b] = truncated(a.size(), b.size(), folder_.max_seq_len - (is_pair ? 3 : 2));
  Windows windows;
  Row row{{vocabulary.cls}, length_a + 2};
  add_kept(a, length_a, row.ids);
  row.ids.push_back(vocabulary.sep);
  if (is_pair) {
    add_kept(b, length_b, row.ids);
    row.ids.push_back(vocabulary.sep);
    if (folder_.sentence_types < 2) {
      throw BadRecord{"a pair of texts", "single texts: the model has 1 sentence type (type_vocab_size 1), so a "
                                         "second text has none"};
    }
  }
  windows.cut = length_a + length_b < a.size() + b.size();
  windows.rows.push_back(std::move(row));
  return windows;
}

std::vector<std::int32_t> TextCodec::tokens(const std::string& text) const {
  std::u32string codes = code_points(text);
  if (folder_.drop_html_breaks) drop_html_breaks(codes);
  // Where ideographs do not cut, the space beside one is all that does.
  if (folder_.for_cn && folder_.tokenizer->cuts_ideographs()) codes = without_spaces(codes);
  std::vector<std::int32_t> ids;
  folder_.tokenizer->encode(codes, ids);
  return ids;
}

// At most `length` tokens: the first, the last, or a quarter of them from the beginning and the rest from the end.
void TextCodec::add_kept(const std::vector<std::int32_t>& tokens, std::size_t length,
                         std::vector<std::int32_t>& to) const {
  std::size_t first = length;
  if (tokens.size() > length && folder_.truncation != "head") {
    first = folder_.truncation == "head+tail" ? length * 128 / 510 : 0;
  }
  to.insert(to.end(), tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(first));
  to.insert(to.end(), tokens.end() - static_cast<std::ptrdiff_t>(length - first), tokens.end());
}

}  // namespace ernie
