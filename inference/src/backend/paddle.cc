// Over the documented interface of Paddle Inference (paddle_inference_api.h).

#include <paddle_inference_api.h>

#include <exception>
#include <functional>
#include <mutex>
#include <numeric>

#include "backend/backend.h"
#include "errors.h"
#include "files.h"

namespace ernie {
namespace {

class Paddle : public Backend {
 public:
  Paddle(const std::string& model, const std::string& parameters, const BackendSettings& settings) : path_(model) {
    // The calls that `propeller/exported.py` makes, so that both give the same numbers.
    paddle_infer::Config config(model, parameters);
    config.DisableGlogInfo();
    config.DisableGpu();
    config.SetCpuMathLibraryNumThreads(settings.threads);
    config.EnableMKLDNN();
    if (settings.precision == Precision::bf16) config.EnableMkldnnBfloat16();
    guarded([&] { first_ = paddle_infer::CreatePredictor(config); });
    if (!first_) throw bad_input(model, "a file that Paddle Inference cannot load", "an inference model of Paddle");
  }

  std::size_t count_inputs() const override { return first_->GetInputNames().size(); }

  std::vector<Output> run(const std::vector<Input>& inputs) override {
    std::shared_ptr<paddle_infer::Predictor> predictor = take();
    std::vector<Output> outputs;
    guarded([&] {
      const std::vector<std::string> names = predictor->GetInputNames();
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto handle = predictor->GetInputHandle(names.at(i));
        handle->Reshape(std::vector<int>(inputs[i].shape.begin(), inputs[i].shape.end()));
        if (inputs[i].type == Input::Type::int64) {
          handle->CopyFromCpu(static_cast<const std::int64_t*>(inputs[i].data));
        } else {
          handle->CopyFromCpu(static_cast<const float*>(inputs[i].data));
        }
      }
      if (!predictor->Run()) throw UserError("no result");
      for (const std::string& name : predictor->GetOutputNames()) {
        const auto handle = predictor->GetOutputHandle(name);
        const std::vector<int> shape = handle->shape();
        Output output{std::vector<std::int64_t>(shape.begin(), shape.end()), {}};
        output.values.resize(std::accumulate(shape.begin(), shape.end(), std::size_t{1}, std::multiplies<>()));
        handle->CopyToCpu(output.values.data());
        outputs.push_back(std::move(output));
      }
    });
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(predictor));
    return outputs;
  }

 private:
  // Predictors share the parameters; each computes one batch at a time.
  std::shared_ptr<paddle_infer::Predictor> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return first_->Clone();
    auto predictor = std::move(idle_.back());
    idle_.pop_back();
    return predictor;
  }

  template <typename Work>
  void guarded(Work&& work) const {
    try {
      work();
    } catch (const std::exception& e) {
      std::string said = std::string(e.what()).substr(0, 200);
      for (char& c : said) c = c == '\n' ? ' ' : c;
      throw bad_input(path_, "what Paddle Inference cannot compute (" + said + ")", "a model of `ernie export`");
    }
  }

  std::string path_;
  std::shared_ptr<paddle_infer::Predictor> first_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<paddle_infer::Predictor>> idle_;
};

}  // namespace

std::unique_ptr<Backend> open_paddle(const Folder& folder, const BackendSettings& settings) {
  if (settings.precision == Precision::int8) {
    throw bad_input(folder.path, "a model of the format 'paddle'", "another one for int8", 0,
                    "ernie export MODEL --export_format fused makes one.");
  }
  const std::string model = folder.path + "/model.json", parameters = folder.path + "/model.pdiparams";
  for (const std::string& path : {model, parameters}) {
    if (!is_there(path)) throw bad_input(path, "no such file", "an inference model of Paddle");
  }
  return std::make_unique<Paddle>(model, parameters, settings);
}

}  // namespace ernie
