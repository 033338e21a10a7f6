// inference --model_dir FOLDER --data FILE: the program of 2019, over batches that are numbers already.

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

#include "errors.h"
#include "latencies.h"
#include "model/model.h"
#include "programs/flags.h"
#include "programs/quiet.h"
#include "rows.h"
#include "samples.h"

namespace ernie {
namespace {

constexpr char kUsage[] =
    "inference --model_dir FOLDER --data FILE [FLAGS]\n"
    "\n"
    "FOLDER is an export of a model for classes; a line of FILE is a batch: token ids, sentence types, positions and mask,\n"
    "each `shape:data`, parted by semicolons. The probabilities of a sample are a line, parted by TABs.\n"
    "\n"
    "  --repeat N                passes over the file (1)\n"
    "  --output_prediction true  print during the first pass (false)\n"
    "  --threads N               of the processor (all)\n"
    "  --use_gpu true, --device  refused by a build for the processor\n"
    "  --logtostderr             as always\n";

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

void print(const Output& output, std::size_t rows) {
  const std::size_t width = output.values.size() / rows;
  std::string line;
  for (std::size_t i = 0; i < output.values.size(); ++i) {
    write_number(shortest(output.values[i]), line);
    line += i % width == width - 1 ? '\n' : '\t';
  }
  if (std::fwrite(line.data(), 1, line.size(), stdout) != line.size()) {
    throw UserError(std::string("standard output cannot be written (") + std::strerror(errno) + ").");
  }
}

// One pass over the file. Lines that are no batch are named once and passed over.
void pass(Model& model, const SampleParser& parser, const std::string& path, bool is_first, bool prints,
          Latencies& latencies) {
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw bad_input(path, std::string("a file that cannot be read (") + std::strerror(errno) + ")", "samples");
  Lines lines(file.get(), path);
  std::string line;
  while (lines.next(line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      const Sample sample = parser.parse(line);
      const auto rows = static_cast<std::size_t>(sample.shape[0]);
      const auto started = std::chrono::steady_clock::now();
      const std::vector<Output> outputs = model.backend().run(sample.inputs());
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
      latencies.add(seconds.count(), rows);
      if (outputs.empty() || outputs[0].shape.size() != 2 || outputs[0].shape[0] != sample.shape[0]) {
        throw bad_input(model.folder().path, "an output of another shape", "probabilities for each sample");
      }
      if (is_first && prints) print(outputs[0], rows);
    } catch (const BadRecord& e) {
      if (!is_first) continue;
      std::fprintf(stderr, "%s:%zu: Parse line[%zu] error! found %s, expected %s.\n", path.c_str(), lines.number(),
                   lines.number(), e.found.c_str(), e.expected.c_str());
    }
  }
}

int inference(int argc, char** argv) {
  // glog's switch stood alone in 2019.
  std::vector<char*> words;
  for (int i = 0; i < argc; ++i) {
    if (std::strcmp(argv[i], "--logtostderr") != 0) words.push_back(argv[i]);
  }
  const Flags flags(static_cast<int>(words.size()), words.data(),
                    {"model_dir", "data", "repeat", "output_prediction", "use_gpu", "device", "threads"});
  if (!flags.others().empty()) throw usage_error(quoted(flags.others()[0]) + " is no flag.");
  const std::string folder = flags.text("model_dir", ""), data = flags.text("data", "");
  if (folder.empty() || data.empty()) {
    std::fputs(kUsage, stderr);
    throw usage_error(folder.empty() ? "--model_dir is missing." : "--data is missing.");
  }
  if (flags.flag("use_gpu", false)) throw usage_error("--use_gpu true: this build computes on the processor. Leave it out.");
  if (flags.text("device") && flags.count("device", 0, 0) != 0) {
    throw usage_error("--device: this build computes on the processor. Leave it out.");
  }
  const std::int64_t repeat = flags.count("repeat", 1);
  const bool prints = flags.flag("output_prediction", false);
  Settings settings;
  settings.threads = static_cast<int>(flags.count("threads", 0));
  const auto opened = [&] {
    const Quiet quiet;
    return std::make_unique<Model>(folder, settings);
  }();
  Model& model = *opened;
  const std::string config = folder + "/ernie_config.json";
  const Json values = read_json_object(config, "the configuration of the model");
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1;
  const SampleParser parser(model.folder(), count_of(values, config, "vocab_size", 1, kMost, 1),
                            count_of(values, config, "max_position_embeddings", 1, kMost, 512),
                            count_of(values, config, "task_type_vocab_size", 1, kMost, 1));
  Latencies latencies;
  for (std::int64_t i = 0; i < repeat; ++i) pass(model, parser, data, i == 0, prints, latencies);
  if (std::fflush(stdout) != 0) throw UserError(std::string("standard output cannot be written (") + std::strerror(errno) + ").");
  if (latencies.rows() == 0) throw bad_input(data, "no sample", "at least one line that is a batch");
  const double each = 1e3 * latencies.seconds() / static_cast<double>(latencies.rows());
  std::fprintf(stderr, "Run %zu samples, average latency: %gms per sample.\n",
               latencies.rows() / static_cast<std::size_t>(repeat), each);
  std::fprintf(stderr, "Run %lld times.\n", static_cast<long long>(repeat));
  latencies.print(stderr);
  return 0;
}

}  // namespace
}  // namespace ernie

int main(int argc, char** argv) { return ernie::run_program("inference", ernie::inference, argc, argv); }
