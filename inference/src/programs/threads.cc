// threads MODEL RECORDS.json [MODEL RECORDS.json ...]: four threads call all models over ernie.h, each beginning with
// another one; each must get what one gets alone. For sanitizers.

#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ernie.h"
#include "errors.h"
#include "files.h"
#include "programs/flags.h"

namespace ernie {
namespace {

constexpr std::size_t kThreads = 4, kCalls = 10, kMostBytes = std::size_t{1} << 24;

struct Closer {
  void operator()(ernie_model* model) const { ernie_free(model); }
};

struct Shared {
  std::unique_ptr<ernie_model, Closer> model;
  std::string records, alone;
};

// What the library says, or why it does not.
std::string predicted(const Shared& shared) {
  char error[1000];
  char* found = ernie_predict(shared.model.get(), shared.records.c_str(), error, sizeof error);
  if (found == nullptr) throw UserError(error);
  std::string text = found;
  ernie_free_text(found);
  return text;
}

Shared opened(const char* folder, const char* records) {
  char error[1000];
  Shared shared;
  shared.records = read_file(records, kMostBytes, "a JSON list of records");
  shared.model.reset(ernie_open(folder, "{\"threads\": 2, \"streams\": 2, \"batch_size\": 8}", error, sizeof error));
  if (!shared.model) throw UserError(error);
  shared.alone = predicted(shared);
  return shared;
}

// How many results are others than those of a thread alone. first: the model that this thread begins with.
std::size_t count_wrong(const std::vector<Shared>& models, std::size_t first) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < kCalls * models.size(); ++i) {
    const Shared& shared = models[(first + i) % models.size()];
    try {
      wrong += predicted(shared) != shared.alone;
    } catch (const UserError&) {
      ++wrong;
    }
  }
  return wrong;
}

int call(int argc, char** argv) {
  if (argc < 3 || argc % 2 == 0) throw usage_error("threads MODEL RECORDS.json [MODEL RECORDS.json ...]");
  std::vector<Shared> models;
  for (int i = 1; i < argc; i += 2) models.push_back(opened(argv[i], argv[i + 1]));
  std::vector<std::size_t> wrong(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&models, &wrong, i] { wrong[i] = count_wrong(models, i); });
  }
  std::size_t sum = 0;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads[i].join();
    sum += wrong[i];
  }
  std::printf("%zu calls in %zu threads, %zu with other results than alone\n", kThreads * kCalls * models.size(),
              kThreads, sum);
  return sum == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ernie

int main(int argc, char** argv) { return ernie::run_program("threads", ernie::call, argc, argv); }
