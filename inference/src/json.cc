#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <unordered_set>

#include "errors.h"
#include "files.h"
#include "text/utf8.h"

namespace ernie {

Json Json::of(bool value) {
  Json made(Kind::boolean);
  made.boolean_ = value;
  return made;
}

Json Json::of(std::int64_t value) { return integer(std::to_string(value)); }

Json Json::of(double value) {
  Json made(Kind::real);
  made.number_ = value;
  return made;
}

Json Json::of(std::string value) {
  Json made(Kind::text);
  made.text_ = std::move(value);
  return made;
}

Json Json::integer(std::string digits) {
  Json made(Kind::integer);
  made.text_ = digits == "-0" ? "0" : std::move(digits);
  made.number_ = std::strtod(made.text_.c_str(), nullptr);
  return made;
}

bool Json::is_within(std::int64_t least, std::int64_t most) const {
  std::int64_t value = 0;
  if (!is(Kind::integer)) return false;
  const char* end = text_.data() + text_.size();
  return std::from_chars(text_.data(), end, value).ec == std::errc{} && value >= least && value <= most;
}

const Json* Json::find(std::string_view name) const {
  for (const auto& [key, value] : members_) {
    if (key == name) return &value;
  }
  return nullptr;
}

Json& Json::add(Json value) {
  items_.push_back(std::move(value));
  return *this;
}

Json& Json::add(std::string name, Json value) {
  members_.emplace_back(std::move(name), std::move(value));
  return *this;
}

void Json::write(std::string& to) const {
  const char* separator = "";
  switch (kind_) {
    case Kind::null: to += "null"; break;
    case Kind::boolean: to += boolean_ ? "true" : "false"; break;
    case Kind::integer: to += text_; break;
    case Kind::real: write_number(number_, to); break;
    case Kind::text: write_json_text(text_, to); break;
    case Kind::list:
      to += '[';
      for (const Json& item : items_) {
        to += std::exchange(separator, ", ");
        item.write(to);
      }
      to += ']';
      break;
    case Kind::object:
      to += '{';
      for (const auto& [name, value] : members_) {
        to += std::exchange(separator, ", ");
        write_json_text(name, to);
        to += ": ";
        value.write(to);
      }
      to += '}';
  }
}

void write_json_text(std::string_view text, std::string& to) {
  constexpr char kHex[] = "0123456789abcdef";
  to += '"';
  for (const char c : text) {
    switch (c) {
      case '"': to += "\\\""; break;
      case '\\': to += "\\\\"; break;
      case '\n': to += "\\n"; break;
      case '\r': to += "\\r"; break;
      case '\t': to += "\\t"; break;
      case '\b': to += "\\b"; break;
      case '\f': to += "\\f"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          to += "\\u00";
          to += kHex[c >> 4];
          to += kHex[c & 15];
        } else {
          to += c;
        }
    }
  }
  to += '"';
}

void write_number(double value, std::string& to) {
  if (!std::isfinite(value)) {
    to += std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
    return;
  }
  char buffer[40] = {};  // the exponent is read up to a 0
  const auto end = std::to_chars(buffer, buffer + sizeof buffer - 1, value, std::chars_format::scientific).ptr;
  std::string_view all(buffer, static_cast<std::size_t>(end - buffer));
  if (all.front() == '-') {
    to += '-';
    all.remove_prefix(1);
  }
  const std::size_t mark = all.find('e');
  std::string digits(all.substr(0, mark));
  digits.erase(std::remove(digits.begin(), digits.end(), '.'), digits.end());
  const int exponent = std::atoi(buffer + (all.data() - buffer) + mark + 1);
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    to += digits[0];
    if (count > 1) to += "." + digits.substr(1);
    char text[8];
    std::snprintf(text, sizeof text, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent) % 1000);
    to += text;
  } else if (exponent < 0) {
    to += "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  } else if (count <= exponent + 1) {
    to += digits + std::string(static_cast<std::size_t>(exponent + 1 - count), '0') + ".0";
  } else {
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    to += digits.substr(0, whole) + "." + digits.substr(whole);
  }
}

double shortest(float value) {
  if (!std::isfinite(value)) return value;
  char buffer[32];
  *std::to_chars(buffer, buffer + sizeof buffer - 1, value).ptr = '\0';
  return std::strtod(buffer, nullptr);
}

namespace {

constexpr int kMostLevels = 100;
constexpr std::size_t kMostBytes = std::size_t{1} << 24;

class Parser {
 public:
  Parser(std::string_view text, const std::string& path, const char* expected, std::size_t line, bool finite)
      : text_(text), path_(path), expected_(expected), line_(line), finite_(finite) {}

  Json whole() {
    skip_space();
    Json value = parse(1);
    skip_space();
    if (at_ < text_.size()) refuse("bad JSON (more behind its end" + place() + ")");
    return value;
  }

 private:
  [[noreturn]] void refuse(const std::string& found) const {
    const auto line = 1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at_), '\n');
    throw bad_input(path_, found, expected_, line_ != 0 ? line_ : static_cast<std::size_t>(line));
  }

  std::string place() const {
    const std::size_t begin = at_ == 0 ? std::string_view::npos : text_.rfind('\n', at_ - 1);
    return ", byte " + std::to_string(at_ - (begin == std::string_view::npos ? 0 : begin + 1) + 1) + " of the line";
  }

  [[noreturn]] void refuse_syntax(const char* what) const { refuse(std::string("bad JSON (") + what + place() + ")"); }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  Json parse(int level) {
    if (level > kMostLevels + 1) refuse("JSON of more than " + std::to_string(kMostLevels) + " levels");
    if (at_ >= text_.size()) refuse_syntax("a value is missing");
    switch (text_[at_]) {
      case '{': return object(level);
      case '[': return list(level);
      case '"': return Json::of(string());
      case 't': return word("true", Json::of(true));
      case 'f': return word("false", Json::of(false));
      case 'n': return word("null", Json());
      case 'N': return constant("NaN", std::numeric_limits<double>::quiet_NaN());
      case 'I': return constant("Infinity", std::numeric_limits<double>::infinity());
      default: break;
    }
    if (text_.substr(at_, 2) == "-I") return constant("-Infinity", -std::numeric_limits<double>::infinity());
    return number();
  }

  Json word(std::string_view name, Json value) {
    if (text_.substr(at_, name.size()) != name) refuse_syntax("a value is missing");
    at_ += name.size();
    return value;
  }

  Json constant(std::string_view name, double value) {
    if (finite_) refuse("the number " + quoted(text_.substr(at_, name.size())));
    return word(name, Json::of(value));
  }

  Json list(int level) {
    Json made = Json::list();
    ++at_;
    skip_space();
    if (take(']')) return made;
    for (;;) {
      skip_space();
      made.add(parse(level + 1));
      skip_space();
      if (take(']')) return made;
      if (!take(',')) refuse_syntax("a comma is missing");
    }
  }

  Json object(int level) {
    Json made = Json::object();
    std::unordered_set<std::string> names;
    ++at_;
    skip_space();
    if (take('}')) return made;
    for (;;) {
      skip_space();
      if (at_ >= text_.size() || text_[at_] != '"') refuse_syntax("a name in double quotes is missing");
      std::string name = string();
      if (!names.insert(name).second) refuse(quoted(name) + " twice in one object");
      skip_space();
      if (!take(':')) refuse_syntax("a colon is missing");
      skip_space();
      made.add(std::move(name), parse(level + 1));
      skip_space();
      if (take('}')) return made;
      if (!take(',')) refuse_syntax("a comma is missing");
    }
  }

  Json number() {
    const std::size_t start = at_;
    const auto digits = [&] {
      const std::size_t first = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
      return at_ - first;
    };
    take('-');
    const std::size_t first = at_;
    const std::size_t whole = digits();
    if (whole == 0 || (whole > 1 && text_[first] == '0')) refuse_syntax("a value is missing");
    bool is_integer = true;
    if (take('.')) {
      is_integer = false;
      if (digits() == 0) refuse_syntax("digits are missing");
    }
    if (take('e') || take('E')) {
      is_integer = false;
      if (!take('+')) take('-');
      if (digits() == 0) refuse_syntax("digits are missing");
    }
    const std::string text(text_.substr(start, at_ - start));
    if (is_integer) {
      std::uint64_t value = 0;
      const char* end = text_.data() + at_;
      if (std::from_chars(text_.data() + first, end, value).ec != std::errc{}) refuse("the number " + quoted(text));
      return Json::integer(text);
    }
    const double value = std::strtod(text.c_str(), nullptr);
    if (finite_ && !std::isfinite(value)) refuse("the number " + quoted(text));
    return Json::of(value);
  }

  std::string string() {
    std::string made;
    for (++at_;;) {
      const std::size_t end = std::min(text_.find_first_of("\"\\", at_), text_.size());
      for (std::size_t i = at_; i < end; ++i) {
        if (static_cast<unsigned char>(text_[i]) < 0x20) {
          at_ = i;
          refuse_syntax("a control character in a text");
        }
      }
      made += text_.substr(at_, end - at_);
      at_ = end;
      if (at_ == text_.size()) refuse_syntax("a text without an end");
      if (text_[at_++] == '"') return made;
      escape(made);
    }
  }

  void escape(std::string& made) {
    constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
    if (at_ == text_.size()) refuse_syntax("a text without an end");
    const char name = text_[at_++];
    if (const std::size_t known = kNames.find(name); known != std::string_view::npos) {
      made += kValues[known];
      return;
    }
    if (name != 'u') refuse_syntax("a bad escape");
    char32_t code = hex();
    if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      at_ += 2;
      const char32_t low = hex();
      if (low < 0xDC00 || low > 0xDFFF) refuse_half();
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xD800 && code < 0xE000) {
      refuse_half();
    }
    append_utf8(code, made);
  }

  [[noreturn]] void refuse_half() const { refuse("half of a surrogate pair (\\ud800 to \\udfff)"); }

  char32_t hex() {
    const std::string_view four = text_.substr(at_, 4);
    unsigned value = 0;
    const auto end = std::from_chars(four.data(), four.data() + four.size(), value, 16);
    if (four.size() < 4 || end.ptr != four.data() + 4) refuse_syntax("a bad escape");
    at_ += 4;
    return value;
  }

  std::string_view text_;
  const std::string& path_;
  const char* expected_;
  std::size_t line_, at_ = 0;
  bool finite_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& path, const char* expected, std::size_t line, bool finite) {
  std::u32string codes;
  const std::size_t wrong = decode_utf8(text, codes);
  if (wrong < text.size()) {
    const auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(wrong), '\n');
    char found[32];
    std::snprintf(found, sizeof found, "byte 0x%02x that is not UTF-8", static_cast<unsigned char>(text[wrong]));
    throw bad_input(path, found, expected, line != 0 ? line : static_cast<std::size_t>(lines) + 1);
  }
  return Parser(text, path, expected, line, finite).whole();
}

Json read_json_object(const std::string& path, const char* expected) {
  const std::string content = read_file(path, kMostBytes, expected);
  std::string_view text = content;
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  Json value = parse_json(text, path, expected);
  if (!value.is(Json::Kind::object)) throw bad_input(path, "JSON that is no object", expected);
  return value;
}

}  // namespace ernie
