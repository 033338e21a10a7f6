// What a user can mend: one line that says what was found, what was expected and what to do.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace ernie {

// exit_code of a program: 1 for what was found in files, 2 for flags.
class UserError : public std::runtime_error {
 public:
  explicit UserError(const std::string& text, int exit_code = 1, std::string found = {})
      : std::runtime_error(text), exit_code(exit_code), found(std::move(found)) {}
  int exit_code;
  std::string found;  // of errors that `bad_input` makes
};

inline UserError usage_error(const std::string& text) { return UserError(text, 2); }

// `FILE:LINE: found X, expected Y. ADVICE`; line 0 where no line is at fault.
UserError bad_input(std::string_view path, std::string_view found, std::string_view expected, std::size_t line = 0,
                    std::string_view advice = {});

// A text from outside in quotes, at most 60 characters of it, control characters and what is not UTF-8 escaped.
std::string quoted(std::string_view text);

}  // namespace ernie
