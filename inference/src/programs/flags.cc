#include "programs/flags.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "errors.h"

namespace ernie {

Flags::Flags(int argc, char** argv, const std::vector<std::string>& known) {
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.compare(0, 2, "--") != 0) {
      others_.push_back(word);
      continue;
    }
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      std::string names;
      for (const std::string& other : known) names += (names.empty() ? "--" : ", --") + other;
      throw usage_error("--" + name + " is no flag. Expected one of " + names + ".");
    }
    const bool is_alone = equals == std::string::npos && (i + 1 == argc || std::strncmp(argv[i + 1], "--", 2) == 0);
    if (is_alone) throw usage_error("--" + name + ": a value is missing.");
    if (!given_.emplace(name, equals == std::string::npos ? argv[++i] : word.substr(equals + 1)).second) {
      throw usage_error("--" + name + " is given twice.");
    }
  }
}

std::optional<std::string> Flags::text(const std::string& name) const {
  const auto found = given_.find(name);
  if (found == given_.end()) return std::nullopt;
  return found->second;
}

std::string Flags::text(const std::string& name, const std::string& otherwise) const {
  return text(name).value_or(otherwise);
}

bool Flags::flag(const std::string& name, bool otherwise) const {
  const auto given = text(name);
  if (!given) return otherwise;
  if (*given == "true" || *given == "1") return true;
  if (*given == "false" || *given == "0") return false;
  throw usage_error("--" + name + " " + quoted(*given) + ": expected true or false.");
}

std::int64_t Flags::count(const std::string& name, std::int64_t otherwise, std::int64_t least) const {
  const auto given = text(name);
  if (!given) return otherwise;
  std::int64_t value = 0;
  const char* end = given->data() + given->size();
  const auto read = std::from_chars(given->data(), end, value);
  if (read.ec != std::errc{} || read.ptr != end || value < least || value > 1000000) {
    throw usage_error("--" + name + " " + quoted(*given) + ": expected a whole number from " + std::to_string(least) + ".");
  }
  return value;
}

std::optional<double> Flags::share(const std::string& name) const {
  const auto given = text(name);
  if (!given) return std::nullopt;
  double value = 0;
  const char* end = given->data() + given->size();
  const auto read = std::from_chars(given->data(), end, value);
  if (read.ec != std::errc{} || read.ptr != end || !(value >= 0 && value <= 1)) {
    throw usage_error("--" + name + " " + quoted(*given) + ": expected a number from 0 to 1.");
  }
  return value;
}

int run_program(const char* name, int (*program)(int, char**), int argc, char** argv) {
  try {
    return program(argc, argv);
  } catch (const UserError& e) {
    std::fprintf(stderr, "%s: %s\n", name, e.what());
    return e.exit_code;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "%s: out of memory.\n", name);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", name, e.what());
  }
  return 1;
}

}  // namespace ernie
