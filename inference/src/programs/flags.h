// Flags of a program: `--name value` or `--name=value` (a value may begin with -- in the second form only), and what
// stands without a flag.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ernie {

class Flags {
 public:
  // Throws UserError with exit code 2: a flag that is not among `known`, twice, or without a value.
  Flags(int argc, char** argv, const std::vector<std::string>& known);

  std::optional<std::string> text(const std::string& name) const;
  std::string text(const std::string& name, const std::string& otherwise) const;
  bool flag(const std::string& name, bool otherwise) const;
  std::int64_t count(const std::string& name, std::int64_t otherwise, std::int64_t least = 1) const;
  std::optional<double> share(const std::string& name) const;  // from 0 to 1
  const std::vector<std::string>& others() const { return others_; }

 private:
  std::map<std::string, std::string> given_;
  std::vector<std::string> others_;
};

// Runs a program: what it throws becomes one line on standard error and an exit code.
int run_program(const char* name, int (*program)(int, char**), int argc, char** argv);

}  // namespace ernie
