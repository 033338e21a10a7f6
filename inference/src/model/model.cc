#include "model/model.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "errors.h"
#include "tasks/table.h"

namespace ernie {

int usable_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(CPU_COUNT(&set), 1);
}

std::optional<Precision> precision_of(const std::string& name) {
  if (name == "fp32") return Precision::fp32;
  if (name == "bf16") return Precision::bf16;
  if (name == "int8") return Precision::int8;
  return std::nullopt;
}

Model::Model(const std::string& path, const Settings& settings)
    : folder_(open_folder(path)), settings_(settings), codec_(make_codec(folder_)) {
  if (settings_.threads == 0) settings_.threads = usable_cores();
  if (settings_.streams > settings_.threads) {
    throw usage_error("--streams " + std::to_string(settings_.streams) + ": expected at most one for each of " +
                      std::to_string(settings_.threads) + " threads.");
  }
  BackendSettings how;
  how.threads = settings_.threads / settings_.streams;
  how.streams = settings_.streams;
  how.precision = settings_.precision;
  backend_ = open_backend(folder_, how);
  const std::size_t inputs = folder_.has_task_id ? 5 : 4;
  if (backend_->count_inputs() != inputs) {
    throw bad_input(folder_.path, "a model of " + std::to_string(backend_->count_inputs()) + " inputs",
                    std::to_string(inputs) + ", as ernie_config.json says");
  }
  // A batch of two rows: what a backend makes for its first batch is made here, and a model that computes something else
  // ends here. Some products pack their weights in another way for one row, and would for this one alone.
  const Row row{{0, 0}, 2};
  std::vector<Outputs::value_type> outputs(2);
  run({&row, &row}, {&outputs[0], &outputs[1]});
}

void Model::encode(Item& item) const {
  try {
    item.windows = codec_->encode(item.record);
  } catch (BadRecord& e) {
    item.bad = std::make_unique<BadRecord>(std::move(e));
  }
}

void Model::predict(std::vector<Item>& items, const Selection& selection,
                    const std::function<void(double, std::size_t)>& computed) {
  std::vector<Outputs> outputs(items.size());
  std::vector<const Row*> rows;
  std::vector<Outputs::value_type*> places;
  for (std::size_t i = 0; i < items.size(); ++i) {
    outputs[i].resize(items[i].windows.rows.size());
    for (std::size_t k = 0; k < outputs[i].size(); ++k) {
      rows.push_back(&items[i].windows.rows[k]);
      places.push_back(&outputs[i][k]);
    }
  }
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return rows[a]->ids.size() < rows[b]->ids.size(); });
  const std::size_t batches = (rows.size() + settings_.batch_size - 1) / settings_.batch_size;
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    try {
      for (std::size_t batch = next++; batch < batches; batch = next++) {
        // The longest first, so that no thread is left alone with them.
        const std::size_t begin = (batches - 1 - batch) * settings_.batch_size;
        const std::size_t end = std::min(begin + settings_.batch_size, rows.size());
        std::vector<const Row*> chosen;
        std::vector<Outputs::value_type*> to;
        for (std::size_t i = begin; i < end; ++i) {
          chosen.push_back(rows[order[i]]);
          to.push_back(places[order[i]]);
        }
        const auto started = std::chrono::steady_clock::now();
        run(chosen, to);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
        if (computed) computed(seconds.count(), chosen.size());
      }
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      failure = std::current_exception();
      next = batches;
    }
  };
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < std::min<std::size_t>(static_cast<std::size_t>(settings_.streams), batches); ++i) {
    others.emplace_back(work);
  }
  work();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (items[i].bad) continue;
    items[i].result = codec_->select(codec_->decode(items[i].record, items[i].windows, outputs[i]), selection);
  }
}

// One batch, in equal parts where it has many tokens: as fast, and what lies between the layers takes less memory. Python's
// engine parts it in the same way, so that the last digits agree.
void Model::run(const std::vector<const Row*>& rows, const std::vector<Outputs::value_type*>& to) {
  constexpr std::size_t kMostTokens = 2048;
  std::size_t length = 0;
  for (const Row* row : rows) length = std::max(length, row->ids.size());
  const std::size_t parts = (rows.size() * length + kMostTokens - 1) / kMostTokens;
  const std::size_t each = parts > 1 ? (rows.size() + parts - 1) / parts : rows.size();
  for (std::size_t begin = 0; begin < rows.size(); begin += each) {
    const auto first = static_cast<std::ptrdiff_t>(begin);
    const auto last = static_cast<std::ptrdiff_t>(std::min(begin + each, rows.size()));
    run_part({rows.begin() + first, rows.begin() + last}, {to.begin() + first, to.begin() + last}, length);
  }
}

// Token ids, sentence types, positions, mask and perhaps task ids, each [rows, length].
void Model::run_part(const std::vector<const Row*>& rows, const std::vector<Outputs::value_type*>& to,
                     std::size_t length) {
  const std::size_t size = rows.size() * length;
  std::vector<std::int64_t> ids(size), types(size), positions(size), tasks(size, folder_.task_id);
  std::vector<float> mask(size);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t k = 0; k < rows[i]->ids.size(); ++k) {
      const std::size_t place = i * length + k;
      ids[place] = rows[i]->ids[k];
      types[place] = k >= rows[i]->split;
      positions[place] = static_cast<std::int64_t>(k);
      mask[place] = 1.0f;
    }
  }
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(length)};
  std::vector<Input> inputs;
  for (const auto* values : {&ids, &types, &positions}) inputs.push_back({Input::Type::int64, shape, values->data()});
  inputs.push_back({Input::Type::float32, shape, mask.data()});
  if (folder_.has_task_id) inputs.push_back({Input::Type::int64, shape, tasks.data()});
  const std::vector<Output> outputs = backend_->run(inputs);
  for (std::size_t n = 0; n < outputs.size(); ++n) {
    const Output& output = outputs[n];
    const bool varies = n < folder_.varies.size() && folder_.varies[n];
    std::int64_t each = 1;
    for (std::size_t i = 1; i < output.shape.size(); ++i) each *= output.shape[i];
    const bool fits = !output.shape.empty() && output.shape[0] == shape[0] &&
                      (!varies || (output.shape.size() > 1 && output.shape[1] == shape[1]));
    if (!fits || n >= folder_.varies.size()) {
      throw bad_input(folder_.path, "an output of another shape", "what inference.json says");
    }
    const auto stride = static_cast<std::size_t>(each);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t count = varies ? rows[i]->ids.size() : 1;
      const std::size_t width = varies ? stride / length : stride;
      const auto first = output.values.begin() + static_cast<std::ptrdiff_t>(i * stride);
      to[i]->push_back({{first, first + static_cast<std::ptrdiff_t>(count * width)}, count, width});
    }
  }
}

}  // namespace ernie
