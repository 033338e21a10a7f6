// JSON: read strictly and with bounds, as `propeller.inputs.parse_json` does; written as Python's `json.dumps` writes it
// with `ensure_ascii=False`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ernie {

class Json {
 public:
  enum class Kind { null, boolean, integer, real, text, list, object };
  using Members = std::vector<std::pair<std::string, Json>>;

  Json() = default;
  static Json of(bool value);
  static Json of(std::int64_t value);
  static Json of(double value);
  static Json of(std::string value);
  static Json of(const char* value) { return of(std::string(value)); }
  static Json list() { return Json(Kind::list); }
  static Json object() { return Json(Kind::object); }
  static Json integer(std::string digits);

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_number() const { return is(Kind::integer) || is(Kind::real); }

  // What a value holds; only of its kind.
  bool boolean() const { return boolean_; }
  double number() const { return number_; }
  const std::string& text() const { return text_; }
  const std::vector<Json>& items() const { return items_; }
  const Members& members() const { return members_; }

  // Whether it is an integer within these bounds.
  bool is_within(std::int64_t least, std::int64_t most) const;

  // The member of an object of this name, or null.
  const Json* find(std::string_view name) const;

  // Adds to a list or an object; names are not looked at.
  Json& add(Json value);
  Json& add(std::string name, Json value);

  void write(std::string& to) const;

 private:
  explicit Json(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::null;
  bool boolean_ = false;
  double number_ = 0;
  std::string text_;  // also the digits of an integer
  std::vector<Json> items_;
  Members members_;
};

// The value of a JSON text. Throws UserError that names `path` and the line: it is not JSON or not UTF-8, has a name
// twice in one object, an integer of more than 64 bits, a number that is not finite, half of a surrogate pair, more than
// 100 levels. line: that the text is in `path`; 0: the text is the whole file. finite: false allows NaN and the
// infinities, which Python's own writer writes.
Json parse_json(std::string_view text, const std::string& path, const char* expected, std::size_t line = 0,
                bool finite = true);

// The object in a file of at most 16 MB.
Json read_json_object(const std::string& path, const char* expected);

void write_json_text(std::string_view text, std::string& to);

// A number as Python's `repr` writes it: the fewest digits that give it back.
void write_number(double value, std::string& to);

// A float with the fewest digits that give it back as a float.
double shortest(float value);

}  // namespace ernie
