// What inference/src/backend/paddle.cc calls of Paddle Inference, declared to be linked with the library in Paddle's
// wheel, which comes without this header. Objects of the library are held as they are given out and never destroyed:
// what is inside them is the library's business. For acceptance alone: a real build takes the header of the download.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace paddle {

struct AnalysisConfig {
  AnalysisConfig(const std::string& model, const std::string& parameters);
  ~AnalysisConfig();
  void DisableGlogInfo();
  void DisableGpu();
  void SetCpuMathLibraryNumThreads(int threads);
  void EnableMKLDNN();
  void EnableMkldnnBfloat16();

 private:
  // More than any release needs (3.3.1: below 4 KB).
  alignas(std::max_align_t) char room_[65536];
};

}  // namespace paddle

namespace paddle_infer {

using Config = paddle::AnalysisConfig;

class Tensor {
 public:
  void Reshape(const std::vector<int>& shape);
  template <typename Number>
  void CopyFromCpu(const Number* data);
  template <typename Number>
  void CopyToCpu(Number* data) const;
  std::vector<int> shape() const;
};

class Predictor {
 public:
  std::vector<std::string> GetInputNames();
  std::unique_ptr<Tensor> GetInputHandle(const std::string& name);
  std::vector<std::string> GetOutputNames();
  std::unique_ptr<Tensor> GetOutputHandle(const std::string& name);
  bool Run();
  std::unique_ptr<Predictor> Clone(void* stream = nullptr);
};

std::shared_ptr<Predictor> CreatePredictor(const Config& config);

}  // namespace paddle_infer
