// ernie_predict MODEL [FILE ...]: answers of an exported model, a JSON object a line.

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>

#include "errors.h"
#include "latencies.h"
#include "model/carried.h"
#include "model/model.h"
#include "programs/flags.h"
#include "programs/quiet.h"
#include "rows.h"
#include "text/utf8.h"

namespace ernie {
namespace {

constexpr char kUsage[] =
    "ernie_predict MODEL [FILE ...] [FLAGS]\n"
    "\n"
    "MODEL is a folder of `ernie export --export_format fused` (or openvino, or onnx); FILE holds rows to predict: TSV\n"
    "with a header, JSON lines, or a text a line. Without a FILE, or with -, standard input is read. Results are JSON lines.\n"
    "\n"
    "  --text TEXT             predict this text instead of a file\n"
    "  --output FILE           of the results (standard output)\n"
    "  --input_format FORM     jsonl, tsv or text (told by the name or the first line)\n"
    "  --carry true            results have the columns of the input, too (false)\n"
    "  --top_k N               only the N most probable classes, in order\n"
    "  --min_confidence P      hold back what is less sure\n"
    "  --skip_bad_rows true    rows that cannot be used get an error in their place (false)\n"
    "  --batch_size N          rows of a batch (32)\n"
    "  --length_window N       rows are sorted by length inside windows of N batches (50)\n"
    "  --threads N             of the processor (all)\n"
    "  --streams N             batches computed at the same time, which share the threads (1)\n"
    "  --precision P           of matrix products: fp32, bf16, or int8 of a model that is fused (fp32; a model that was\n"
    "                          exported in int8 stays so)\n"
    "  --statistics true       rate and latencies on standard error (false)\n";

// A file that is there whole, or not at all; or standard output.
class Results {
 public:
  explicit Results(const std::string& path) : path_(path) {
    struct stat about;
    is_whole_ = path != "-" && (stat(path.c_str(), &about) != 0 || S_ISREG(about.st_mode));
    if (path == "-") {
      file_ = stdout;
      return;
    }
    work_ = is_whole_ ? path + "." + std::to_string(getpid()) + ".part" : path;
    file_ = std::fopen(work_.c_str(), "wb");
    if (file_ == nullptr) fail();
  }

  ~Results() {
    if (file_ != nullptr && file_ != stdout) {
      std::fclose(file_);
      if (is_whole_) unlink(work_.c_str());
    }
  }

  void write(const std::string& line) {
    if (std::fwrite(line.data(), 1, line.size(), file_) != line.size()) fail();
  }

  void flush() {
    if (std::fflush(file_) != 0) fail();
  }

  void finish() {
    flush();
    std::FILE* file = file_;
    file_ = nullptr;
    if (file == stdout) return;
    if (std::fclose(file) != 0 || (is_whole_ && std::rename(work_.c_str(), path_.c_str()) != 0)) fail();
  }

 private:
  [[noreturn]] void fail() const {
    throw bad_input(path_ == "-" ? "standard output" : path_,
                    std::string("a place that cannot be written (") + std::strerror(errno) + ")", "another one");
  }

  std::string path_, work_;
  bool is_whole_ = false;
  std::FILE* file_ = nullptr;
};

struct Job {
  Model& model;
  Selection selection;
  bool carries, skips;
  Results& results;
  Latencies& latencies;
  std::size_t count = 0, cut = 0, bad = 0;
};

struct Taken {
  std::size_t line;
  Json cells;
};

void write_window(Job& job, const std::string& name, std::vector<Taken>& rows, std::vector<Item>& items) {
  job.model.predict(items, job.selection,
                    [&](double seconds, std::size_t count) { job.latencies.add(seconds, count); });
  std::string line;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Json value = std::move(items[i].result);
    if (items[i].bad) {
      const BadRecord& bad = *items[i].bad;
      if (!job.skips) throw bad_input(name, bad.found, bad.expected, rows[i].line);
      value = Json::object();
      value.add("error", Json::of("found " + bad.found + ", expected " + bad.expected));
      ++job.bad;
    }
    if (job.carries) value = carried(rows[i].cells, std::move(value), job.model.codec());
    line.clear();
    value.write(line);
    job.results.write(line += '\n');
    job.cut += items[i].windows.cut;
  }
  job.results.flush();
  job.count += items.size();
  rows.clear();
  items.clear();
}

void predict_rows(Job& job, const std::string& name, Rows& source) {
  std::vector<Taken> rows;
  std::vector<Item> items;
  std::size_t tokens_rows = 0;
  InputRow row;
  while (source.next(row)) {
    Item item;
    item.record = std::move(row.record);
    item.bad = std::move(row.bad);
    if (!item.bad) job.model.encode(item);
    tokens_rows += item.bad ? 1 : item.windows.rows.size();
    rows.push_back({row.line, std::move(row.cells)});
    items.push_back(std::move(item));
    if (tokens_rows >= job.model.window_rows()) {
      write_window(job, name, rows, items);
      tokens_rows = 0;
    }
  }
  if (!items.empty()) write_window(job, name, rows, items);
}

Form form_of(const std::string& name) {
  if (name == "auto") return Form::unknown;
  if (name == "jsonl") return Form::json_lines;
  if (name == "tsv") return Form::tsv;
  if (name == "text") return Form::text;
  throw usage_error("--input_format " + quoted(name) + ": expected auto, jsonl, tsv or text.");
}

struct Closer {
  void operator()(std::FILE* file) const {
    if (file != stdin) std::fclose(file);
  }
};

void predict_file(Job& job, const std::string& path, Form form) {
  const bool is_stdin = path == "-";
  const std::unique_ptr<std::FILE, Closer> file(is_stdin ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file) throw bad_input(path, std::string("a file that cannot be read (") + std::strerror(errno) + ")", "rows");
  const std::string name = is_stdin ? "standard input" : path;
  const Columns& columns = job.model.codec().columns();
  if (form == Form::text && columns.required.size() > 1) {
    throw usage_error("--input_format text: the task needs several columns; give tsv or jsonl.");
  }
  Rows rows(file.get(), name, form, columns, job.model.folder().labels.find("column_names"));
  predict_rows(job, name, rows);
}

void predict_text(Job& job, const std::string& text) {
  const std::vector<std::string>& required = job.model.codec().columns().required;
  if (required.size() > 1) throw usage_error("--text: this model needs several columns: give a file.");
  std::u32string codes;
  if (decode_utf8(text, codes) < text.size()) throw usage_error("--text: found bytes that are not UTF-8.");
  std::vector<Taken> rows(1);
  std::vector<Item> items(1);
  rows[0].cells = Json::object();
  rows[0].cells.add("text", Json::of(text));
  items[0].record = Json::object();
  items[0].record.add(required[0], Json::of(text));
  job.model.encode(items[0]);
  write_window(job, "the command line", rows, items);
}

int predict(int argc, char** argv) {
  const Flags flags(argc, argv,
                    {"text", "output", "input_format", "carry", "top_k", "min_confidence", "skip_bad_rows", "batch_size",
                     "length_window", "threads", "streams", "precision", "statistics"});
  if (flags.others().empty()) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  Settings settings;
  settings.threads = static_cast<int>(flags.count("threads", 0));
  settings.streams = static_cast<int>(flags.count("streams", 1));
  settings.batch_size = static_cast<std::size_t>(flags.count("batch_size", 32));
  settings.window = static_cast<std::size_t>(flags.count("length_window", 50));
  const std::string precision = flags.text("precision", "fp32");
  const auto known = precision_of(precision);
  if (!known) throw usage_error("--precision " + quoted(precision) + ": expected fp32, bf16 or int8.");
  settings.precision = *known;
  const Form form = form_of(flags.text("input_format", "auto"));
  Selection selection;
  if (flags.text("top_k")) selection.top_k = static_cast<std::size_t>(flags.count("top_k", 1));
  selection.min_confidence = flags.share("min_confidence");
  std::vector<std::string> files(flags.others().begin() + 1, flags.others().end());
  const auto text = flags.text("text");
  if (text && !files.empty()) throw usage_error("--text and files: give one of the two.");
  const auto opened = [&] {
    const Quiet quiet;
    return std::make_unique<Model>(flags.others()[0], settings);
  }();
  Model& model = *opened;
  for (const std::string& warning : model.folder().warnings) {
    std::fprintf(stderr, "ernie_predict: %s\n", warning.c_str());
  }
  model.codec().check(selection);
  Results results(flags.text("output", "-"));
  Latencies latencies;
  Job job{model, selection, flags.flag("carry", false), flags.flag("skip_bad_rows", false), results, latencies};
  const bool prints = flags.flag("statistics", false);
  const auto started = std::chrono::steady_clock::now();
  if (text) predict_text(job, *text);
  if (!text && files.empty()) files.push_back("-");
  for (const std::string& path : files) predict_file(job, path, form);
  results.finish();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  if (const char* doubt = model.folder().tokenizer->doubt()) std::fprintf(stderr, "ernie_predict: %s\n", doubt);
  if (job.bad > 0) std::fprintf(stderr, "ernie_predict: %zu of %zu rows could not be used\n", job.bad, job.count);
  if (job.cut > 0) {
    std::fprintf(stderr, "ernie_predict: %zu of %zu rows do not fit into %zu tokens: what is beyond was left out\n",
                 job.cut, job.count, model.folder().max_seq_len);
  }
  if (prints) {
    std::fprintf(stderr, "%zu rows in %.3f s: %.1f a second\n", job.count, seconds.count(),
                 static_cast<double>(job.count) / seconds.count());
    latencies.print(stderr);
  }
  return 0;
}

}  // namespace
}  // namespace ernie

int main(int argc, char** argv) { return ernie::run_program("ernie_predict", ernie::predict, argc, argv); }
