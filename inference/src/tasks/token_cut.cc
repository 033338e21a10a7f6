#include "tasks/token_cut.h"

#include "errors.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace ernie {
namespace {

bool is_one_of(char32_t code, std::u32string_view codes) { return codes.find(code) != std::u32string_view::npos; }

bool is_in(const std::string& classes, std::size_t at, std::string_view kinds) {
  return at < classes.size() && kinds.find(classes[at]) != std::string_view::npos;
}

Slice slice(std::size_t start, std::size_t end) {
  return {static_cast<std::uint32_t>(start), static_cast<std::uint32_t>(end)};
}

// Behind letters, marks and the invisible between them, from the letter at `at`.
std::size_t letters_end(const std::string& classes, std::size_t at) {
  for (++at;;) {
    std::size_t next = at;
    while (is_in(classes, next, "z")) ++next;
    if (!is_in(classes, next, "wm")) return at;
    at = next + 1;
  }
}

}  // namespace

TokenCut::TokenCut(const Json* value, const std::string& path) {
  if (value == nullptr) return;
  const auto refuse = [&]() -> UserError {
    std::string shown;
    value->write(shown);
    return bad_input(path, "token_cut " + quoted(shown), "a rule as training writes it");
  };
  if (!value->is(Json::Kind::object)) throw refuse();
  bool has_rule = false;
  for (const auto& [name, content] : value->members()) {
    const bool is_text = content.is(Json::Kind::text);
    if (name == "rule" && is_text) {
      has_rule = true;
      if (content.text() == "characters") rule_ = Rule::characters;
      else if (content.text() == "words") rule_ = Rule::words;
      else if (content.text() != "tokenizer") throw refuse();
    } else if (name == "inside" && is_text) {
      inside_ = code_points(content.text());
    } else if (name == "before" && is_text) {
      before_ = code_points(content.text());
    } else if (name == "tokens" && content.is(Json::Kind::list)) {
      for (const Json& kind : content.items()) {
        if (kind.text() == "space") space_ = true;
        else if (kind.text() == "mark") mark_ = true;
        else if (kind.text() == "invisible") invisible_ = true;
        else throw refuse();
      }
    } else {
      throw refuse();
    }
  }
  if (!has_rule) throw refuse();
}

std::vector<Slice> TokenCut::slices(std::u32string_view text, const Tokenizer& tokenizer) const {
  if (rule_ == Rule::tokenizer) return tokenizer.word_spans(text);
  std::string classes;
  for (const char32_t code : text) classes += class_of(code);
  return rule_ == Rule::words ? words(classes) : characters(classes);
}

// s space, z invisible, c ideograph, m mark, w word; punctuation: p alone, i inside words, b before them, x both.
char TokenCut::class_of(char32_t code) const {
  if (unicode::is_break(code)) return 's';
  if (unicode::is_dropped(code)) return rule_ == Rule::words && invisible_ ? 'Z' : 'z';
  if (unicode::is_cjk(code)) return 'c';
  if (unicode::is_punctuation(code)) {
    const bool inside = is_one_of(code, inside_), before = is_one_of(code, before_);
    return inside && before ? 'x' : inside ? 'i' : before ? 'b' : 'p';
  }
  if (unicode::is_mark(code)) return rule_ == Rule::characters && mark_ ? 'w' : 'm';
  return 'w';
}

std::vector<Slice> TokenCut::words(const std::string& classes) {
  std::vector<Slice> found;
  for (std::size_t at = 0; at < classes.size();) {
    std::size_t end = at;
    if (is_in(classes, at, "bx") && is_in(classes, at + 1, "wm")) ++end;
    if (is_in(classes, end, "wm")) {
      end = letters_end(classes, end);
      for (;;) {
        std::size_t next = end;
        while (is_in(classes, next, "ix")) ++next;
        if (next == end || !is_in(classes, next, "wm")) break;
        end = letters_end(classes, next);
      }
    } else if (is_in(classes, at, "cpibxZ")) {
      end = at + 1;
    }
    if (end > at) found.push_back(slice(at, end));
    at = end > at ? end : at + 1;
  }
  return found;
}

std::vector<Slice> TokenCut::characters(const std::string& classes) const {
  std::vector<Slice> found;
  for (std::size_t at = 0; at < classes.size();) {
    std::size_t end = at + 1;
    const char kind = classes[at];
    if (kind != 's' && kind != 'z' && kind != 'm') {
      while (is_in(classes, end, "m")) ++end;
    }
    // A mark at the very beginning has no character to belong to.
    const bool is_token = kind == 's' ? space_ : kind == 'z' ? invisible_ : kind == 'm' ? mark_ : true;
    if (is_token) found.push_back(slice(at, end));
    at = end;
  }
  return found;
}

std::vector<std::size_t> sentence_ends(std::u32string_view text) {
  const auto is_at = [&](std::size_t at, std::u32string_view codes) { return at < text.size() && is_one_of(text[at], codes); };
  const auto ends_word = [&](std::size_t at) {
    const char32_t c = text[at];
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ')' || c == ']';
  };
  std::vector<std::size_t> ends;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    if (is_at(at, U"。！？…")) {
      while (is_at(end, U"。！？…")) ++end;
      while (is_at(end, U"”’」』）》")) ++end;
    } else if (text[at] == '\n') {
      ++end;
    } else if (is_at(at, U"!?") || (text[at] == '.' && at > 1 && ends_word(at - 1) && ends_word(at - 2))) {
      std::size_t behind = at + 1;
      while (is_at(behind, U"\"'’”)")) ++behind;
      std::size_t next = behind;
      while (next < text.size() && unicode::is_break(text[next])) ++next;
      const bool has_space = next > behind;
      if (is_at(next, U"\"'“‘(")) ++next;
      const bool begins = next < text.size() && ((text[next] >= 'A' && text[next] <= 'Z') ||
                                                 (text[next] >= '0' && text[next] <= '9'));
      // A dot ends a sentence only where no abbreviation can be meant.
      if (has_space && begins) end = behind;
    }
    if (end > at) ends.push_back(end);
    at = end > at ? end : at + 1;
  }
  return ends;
}

}  // namespace ernie
