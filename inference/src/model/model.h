// A model in memory: records in, results out.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/folder.h"
#include "tasks/codec.h"

namespace ernie {

struct Settings {
  int threads = 0;  // of the processor; 0: all that this process may use
  int streams = 1;  // batches computed at the same time, which share the threads
  Precision precision = Precision::fp32;
  std::size_t batch_size = 32;
  std::size_t window = 50;  // rows are sorted by length inside windows of so many batches
};

// A record as it is read, and what becomes of it: a result, or why it cannot be used.
struct Item {
  Json record;
  Windows windows;
  Json result;
  std::unique_ptr<BadRecord> bad;
};

// Safe to share among threads.
class Model {
 public:
  Model(const std::string& path, const Settings& settings);

  const Folder& folder() const { return folder_; }
  const Codec& codec() const { return *codec_; }
  Backend& backend() { return *backend_; }
  const Settings& settings() const { return settings_; }

  // Makes the rows of tokens of a record; `bad` says why not.
  void encode(Item& item) const;

  // Gives results to items that are encoded. computed: called with the seconds and the rows of each batch, perhaps from
  // several threads at once.
  void predict(std::vector<Item>& items, const Selection& selection,
               const std::function<void(double, std::size_t)>& computed = {});

  // Rows of tokens that a window holds.
  std::size_t window_rows() const { return settings_.batch_size * settings_.window; }

 private:
  void run(const std::vector<const Row*>& rows, const std::vector<Outputs::value_type*>& to);
  void run_part(const std::vector<const Row*>& rows, const std::vector<Outputs::value_type*>& to, std::size_t length);

  Folder folder_;
  Settings settings_;
  std::unique_ptr<Codec> codec_;
  std::unique_ptr<Backend> backend_;
};

int usable_cores();

// The precision of this name; none: there is no such.
std::optional<Precision> precision_of(const std::string& name);

}  // namespace ernie
