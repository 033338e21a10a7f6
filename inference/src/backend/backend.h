// What computes a model. Which backends are built in is said when the project is built (ERNIE_BACKENDS); the format of an
// export says which of them reads it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "model/folder.h"

namespace ernie {

struct Input {
  enum class Type { int64, float32 };
  Type type;
  std::vector<std::int64_t> shape;
  const void* data;
};

struct Output {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

enum class Precision { fp32, bf16, int8 };  // of matrix products

struct BackendSettings {
  int threads = 1;  // of a batch
  int streams = 1;  // batches that are computed at the same time
  Precision precision = Precision::fp32;  // a model that was exported in int8 stays so
};

class Backend {
 public:
  virtual ~Backend() = default;

  // The outputs of one batch: of token ids, sentence types, positions (int64), mask (float32), perhaps task ids (int64),
  // each [rows, length]. Safe to call from several threads. Throws UserError.
  virtual std::vector<Output> run(const std::vector<Input>& inputs) = 0;

  virtual std::size_t count_inputs() const = 0;
};

// The model in a folder. Throws UserError: also where no backend that is built in reads its format, or where the one that
// does cannot compute in the precision.
std::unique_ptr<Backend> open_backend(const Folder& folder, const BackendSettings& settings);

// Those that may be built in.
std::unique_ptr<Backend> open_fused(const Folder& folder, const BackendSettings& settings);
std::unique_ptr<Backend> open_openvino(const Folder& folder, const BackendSettings& settings);
std::unique_ptr<Backend> open_paddle(const Folder& folder, const BackendSettings& settings);

}  // namespace ernie
