#include "rows.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "errors.h"
#include "model/naming.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace ernie {
namespace {

constexpr std::size_t kLongest = std::size_t{1} << 26, kBlock = std::size_t{1} << 16, kMostBlank = 10000;
constexpr std::string_view kBom = "\xEF\xBB\xBF";

bool ends_in(const std::string& name, std::string_view ending) {
  if (name.size() < ending.size()) return false;
  return std::equal(ending.begin(), ending.end(), name.end() - static_cast<std::ptrdiff_t>(ending.size()),
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); });
}

std::string stripped(std::string_view text) {
  const std::u32string codes = code_points(text);
  std::size_t first = 0, end = codes.size();
  while (first < end && unicode::is_break(codes[first])) ++first;
  while (end > first && unicode::is_break(codes[end - 1])) --end;
  return to_utf8(std::u32string_view(codes).substr(first, end - first));
}

bool is_blank(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const NextCode next = next_code(text, at);
    if (next.size == 0 || !unicode::is_break(next.code)) return false;
    at += next.size;
  }
  return true;
}

std::vector<std::string> cells_of(std::string_view line) {
  std::vector<std::string> cells;
  for (;;) {
    const std::size_t tab = line.find('\t');
    cells.emplace_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return cells;
    line.remove_prefix(tab + 1);
  }
}

// Why a line cannot be read, or null.
std::unique_ptr<BadRecord> utf8_fault(std::string_view line) {
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t size = next_code(line, at).size;
    if (size == 0) {
      char found[64];
      std::snprintf(found, sizeof found, "byte 0x%02x at byte %zu of the line", static_cast<unsigned char>(line[at]),
                    at + 1);
      return std::make_unique<BadRecord>(BadRecord{found, "UTF-8 text"});
    }
    at += size;
  }
  return nullptr;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + quoted(name);
  return text;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

Lines::Lines(std::FILE* file, std::string name) : file_(file), name_(std::move(name)) {}

bool Lines::next(std::string& line) {
  std::size_t looked = begin_;
  for (;;) {
    const std::size_t end = buffer_.find('\n', looked);
    if (end != std::string::npos) {
      line.assign(buffer_, begin_, end - begin_);
      begin_ = end + 1;
      break;
    }
    buffer_.erase(0, begin_);
    begin_ = 0;
    looked = buffer_.size();
    if (looked > kLongest) {
      throw bad_input(name_, "a line of more than " + std::to_string(kLongest) + " bytes", "a shorter one", number_ + 1);
    }
    buffer_.resize(looked + kBlock);
    const std::size_t got = std::fread(buffer_.data() + looked, 1, kBlock, file_);
    buffer_.resize(looked + got);
    if (got == 0 && std::ferror(file_)) {
      throw bad_input(name_, std::string("a file that cannot be read (") + std::strerror(errno) + ")", "rows");
    }
    if (got == 0) {
      if (buffer_.empty()) return false;
      line.swap(buffer_);
      buffer_.clear();
      break;
    }
  }
  if (++number_ == 1 && line.compare(0, kBom.size(), kBom) == 0) line.erase(0, kBom.size());
  return true;
}

Rows::Rows(std::FILE* file, const std::string& name, Form form, const Columns& columns, const Json* learnt)
    : lines_(file, name), form_(form), columns_(columns), learnt_(learnt) {
  has_first_ = lines_.next(first_);
  if (!has_first_) throw bad_input(name, "an empty file", "at least one row");
  if (form_ == Form::unknown) form_ = form_of_first_line();
  if (form_ == Form::tsv) read_header();
}

Form Rows::form_of_first_line() const {
  const std::string& name = lines_.name();
  for (const char* ending : {".jsonl", ".ndjson", ".json"}) {
    if (ends_in(name, ending)) return Form::json_lines;
  }
  if (ends_in(name, ".tsv")) return Form::tsv;
  if (ends_in(name, ".csv") || ends_in(name, ".parquet")) {
    throw bad_input(name, "a file of another form", "TSV, JSON lines or a text a line", 0,
                    "`ernie predict` in Python reads it.");
  }
  const std::string line = stripped(first_);
  if (!line.empty() && line[0] == '{') return Form::json_lines;
  const std::vector<std::string> cells = cells_of(first_);
  if (cells.size() > 1 || columns_.required.size() > 1 || !called_in({line}, columns_, learnt_).empty()) return Form::tsv;
  return Form::text;
}

bool Rows::next_line(std::string& line) {
  if (!has_first_) return lines_.next(line);
  has_first_ = false;
  line.swap(first_);
  return true;
}

bool Rows::next(InputRow& row) {
  row = InputRow();
  const bool is_row = form_ == Form::json_lines ? next_json(row) : form_ == Form::tsv ? next_cells(row) : next_text(row);
  if (!is_row && !any_ && form_ == Form::json_lines) throw bad_input(lines_.name(), "no record", "at least one");
  if (!is_row && !any_ && form_ == Form::tsv) {
    throw bad_input(lines_.name(), "a header line and no row", "at least one row");
  }
  any_ |= is_row;
  return is_row;
}

// ------------------------------------------------------------ the forms

void Rows::read_header() {
  std::string line;
  next_line(line);
  if (const auto fault = utf8_fault(line)) throw bad_input(lines_.name(), fault->found, fault->expected, 1);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  for (const std::string& cell : cells_of(line)) header_.push_back(stripped(cell));
  for (const std::string& name : header_) {
    if (name.empty()) throw bad_input(lines_.name(), "a column without a name", "a name for every column", 1);
    if (std::count(header_.begin(), header_.end(), name) > 1) {
      throw bad_input(lines_.name(), "the column " + quoted(name) + " twice", "a different name for every column", 1);
    }
  }
  called_ = called_in(header_, columns_, learnt_);
  for (const std::string& role : columns_.required) {
    if (std::none_of(called_.begin(), called_.end(), [&](const auto& pair) { return pair.second == role; })) {
      throw bad_input(lines_.name(), "the columns " + listed(header_), "also a column " + quoted(role), 1,
                      called_.empty() ? "The first line must name the columns." : "");
    }
  }
  for (const std::string& role : columns_.refused) {
    if (has(header_, role)) {
      throw bad_input(lines_.name(), "a column " + quoted(role), "none of this name: the model learnt without it", 1);
    }
  }
}

bool Rows::next_cells(InputRow& row) {
  std::string line;
  if (waiting_ == blank_.size() && !has_after_) {
    blank_.clear();
    waiting_ = 0;
    // Rows without text are rows only where others follow.
    for (;;) {
      if (!next_line(after_)) return false;
      std::string_view text = after_;
      if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
      if (!is_blank(text)) break;
      if (blank_.size() == kMostBlank) break;
      blank_.emplace_back(lines_.number(), std::string(text));
    }
    has_after_ = true;
  }
  if (waiting_ < blank_.size()) {
    row.line = blank_[waiting_].first;
    line = blank_[waiting_++].second;
  } else {
    row.line = lines_.number();
    line.swap(after_);
    has_after_ = false;
  }
  row.bad = utf8_fault(line);
  if (row.bad) return true;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  const std::vector<std::string> cells = cells_of(line);
  if (cells.size() != header_.size()) {
    std::string names;
    for (const std::string& name : header_) names += (names.empty() ? "" : ", ") + name;
    row.bad = std::make_unique<BadRecord>(BadRecord{
        std::to_string(cells.size()) + " cells", std::to_string(header_.size()) + " as in the header (" + names + ")"});
    return true;
  }
  row.cells = Json::object();
  for (std::size_t i = 0; i < cells.size(); ++i) row.cells.add(header_[i], Json::of(cells[i]));
  row.record = renamed(row.cells, called_);
  return true;
}

bool Rows::next_json(InputRow& row) {
  std::string line;
  do {
    if (!next_line(line)) return false;
  } while (is_blank(line));
  row.line = lines_.number();
  row.bad = utf8_fault(line);
  if (row.bad) return true;
  std::string expected = "a JSON object with ";
  for (const std::string& name : columns_.required) expected += (&name == &columns_.required[0] ? "'" : " and '") + name + "'";
  try {
    row.cells = parse_json(line, lines_.name(), expected.c_str(), row.line, false);
  } catch (const UserError& e) {
    row.bad = std::make_unique<BadRecord>(BadRecord{e.found, expected});
    return true;
  }
  if (!row.cells.is(Json::Kind::object)) {
    const bool is_array = row.cells.is(Json::Kind::list) && row.line == 1;
    if (is_array) throw bad_input(lines_.name(), "a JSON array", "JSON lines: an object a line", 1);
    std::string found;
    row.cells.write(found);
    std::size_t size = std::min<std::size_t>(found.size(), 42);
    while (size < found.size() && (found[size] & 0xC0) == 0x80) --size;  // not within a character
    row.bad = std::make_unique<BadRecord>(BadRecord{found.substr(0, size), expected});
    row.cells = Json();
    return true;
  }
  if (!is_called_) {
    is_called_ = true;
    called_ = called_in(names_in(row.cells), columns_, learnt_);
  }
  row.record = renamed(row.cells, called_);
  for (const std::string& name : columns_.required) {
    if (row.record.find(name) != nullptr) continue;
    const std::string found = row.cells.members().empty() ? "an empty object" : "only " + listed(names_in(row.cells));
    row.bad = std::make_unique<BadRecord>(BadRecord{found, expected});
    return true;
  }
  return true;
}

bool Rows::next_text(InputRow& row) {
  std::string line;
  if (!next_line(line)) return false;
  row.line = lines_.number();
  row.bad = utf8_fault(line);
  if (row.bad) return true;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  row.cells = Json::object();
  row.cells.add("text", Json::of(line));
  row.record = Json::object();
  row.record.add(columns_.required[0], Json::of(std::move(line)));
  return true;
}

}  // namespace ernie
