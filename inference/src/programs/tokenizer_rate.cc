// tokenizer_rate MODEL FILE: characters a second from UTF-8 to ids, of the lines of FILE, in one thread.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>

#include "errors.h"
#include "model/tokenizer_folder.h"
#include "programs/flags.h"
#include "rows.h"
#include "text/utf8.h"

namespace ernie {
namespace {

constexpr int kPasses = 9;

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

int measure(int argc, char** argv) {
  const Flags flags(argc, argv, {});
  if (flags.others().size() != 2) throw usage_error("tokenizer_rate MODEL FILE");
  const auto tokenizer = open_tokenizer(flags.others()[0]);
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(flags.others()[1].c_str(), "rb"));
  if (!file) throw bad_input(flags.others()[1], "a file that cannot be read", "a text a line");
  Lines lines(file.get(), flags.others()[1]);
  std::vector<std::string> texts;
  for (std::string line; lines.next(line);) texts.push_back(line);
  std::vector<double> rates;
  std::size_t characters = 0, ids = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    std::u32string codes;
    std::vector<std::int32_t> found;
    characters = ids = 0;
    const double started = processor_seconds();
    for (const std::string& text : texts) {
      decode_utf8(text, codes);
      found.clear();
      tokenizer->encode(codes, found);
      characters += codes.size();
      ids += found.size();
    }
    rates.push_back(static_cast<double>(characters) / (processor_seconds() - started));
  }
  std::sort(rates.begin(), rates.end());
  std::printf("%zu texts, %zu characters, %zu ids: %.0f characters/s (slowest %.0f, fastest %.0f of %d passes)\n",
              texts.size(), characters, ids, rates[kPasses / 2], rates.front(), rates.back(), kPasses);
  return 0;
}

}  // namespace
}  // namespace ernie

int main(int argc, char** argv) { return ernie::run_program("tokenizer_rate", ernie::measure, argc, argv); }
