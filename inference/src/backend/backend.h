// What computes a model. One backend is built in: OpenVINO, or Paddle Inference (-DPADDLE_INFERENCE_DIR=).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

struct BackendSettings {
  int threads = 1;     // of a batch
  int streams = 1;     // batches that are computed at the same time
  bool bf16 = false;   // matrix products in bfloat16
  bool int8 = false;   // the model is one of 8 bits
};

class Backend {
 public:
  virtual ~Backend() = default;

  // The outputs of one batch. Safe to call from several threads. Throws UserError.
  virtual std::vector<Output> run(const std::vector<Input>& inputs) = 0;

  virtual std::size_t count_inputs() const = 0;
};

// The model in a folder of an export. format: `format` of its `inference.json`. Throws UserError.
std::unique_ptr<Backend> open_backend(const std::string& folder, const std::string& format,
                                      const BackendSettings& settings);

}  // namespace ernie
