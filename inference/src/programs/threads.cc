// threads MODEL RECORDS.json: four threads call one model over ernie.h; each must get what one gets alone. For sanitizers.

#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "ernie.h"
#include "files.h"
#include "programs/flags.h"

namespace ernie {
namespace {

constexpr int kThreads = 4, kCalls = 10;

int call(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("threads MODEL RECORDS.json\n", stderr);
    return 2;
  }
  char error[1000];
  const std::string records = read_file(argv[2], std::size_t{1} << 24, "a JSON list of records");
  ernie_model* model = ernie_open(argv[1], "{\"threads\": 2, \"streams\": 2, \"batch_size\": 8}", error, sizeof error);
  if (model == nullptr) {
    std::fprintf(stderr, "%s\n", error);
    return 1;
  }
  char* alone = ernie_predict(model, records.c_str(), error, sizeof error);
  if (alone == nullptr) {
    std::fprintf(stderr, "%s\n", error);
    return 1;
  }
  std::vector<int> wrong(kThreads, 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < kCalls; ++k) {
        char said[1000];
        char* found = ernie_predict(model, records.c_str(), said, sizeof said);
        wrong[static_cast<std::size_t>(i)] += found == nullptr || std::strcmp(found, alone) != 0;
        ernie_free_text(found);
      }
    });
  }
  int sum = 0;
  for (int i = 0; i < kThreads; ++i) {
    threads[static_cast<std::size_t>(i)].join();
    sum += wrong[static_cast<std::size_t>(i)];
  }
  ernie_free_text(alone);
  ernie_free(model);
  std::printf("%d calls in %d threads, %d with other results than alone\n", kThreads * kCalls, kThreads, sum);
  return sum == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ernie

int main(int argc, char** argv) { return ernie::run_program("threads", ernie::call, argc, argv); }
