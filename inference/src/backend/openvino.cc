// Over OpenVINO's C interface, whose headers take no time to compile and whose library goes with any compiler.

#include <openvino/c/openvino.h>

#include <cstdlib>
#include <memory>
#include <mutex>

#include "backend/backend.h"
#include "errors.h"
#include "files.h"
#include "memory.h"

namespace ernie {
namespace {

template <typename T, void (*release)(T*)>
struct Releaser {
  void operator()(T* value) const { release(value); }
};

template <typename T, void (*release)(T*)>
using Owned = std::unique_ptr<T, Releaser<T, release>>;

using Core = Owned<ov_core_t, ov_core_free>;
using Model = Owned<ov_model_t, ov_model_free>;
using Compiled = Owned<ov_compiled_model_t, ov_compiled_model_free>;
using Request = Owned<ov_infer_request_t, ov_infer_request_free>;
using Tensor = Owned<ov_tensor_t, ov_tensor_free>;

// What OpenVINO said last, as one line.
std::string last_error() {
  const char* said = ov_get_last_err_msg();
  std::string line;
  for (const char c : std::string(said == nullptr ? "no reason is given" : said).substr(0, 200)) {
    if (c != '\n' && c != '\r' && c != '\t') line += c;
    else if (!line.empty() && line.back() != ' ') line += ' ';
  }
  return line;
}

// Calls a function that gives its result through a last pointer.
template <typename Handle, typename Call>
Handle made(Call&& call, const char* what) {
  typename Handle::pointer raw = nullptr;
  if (call(&raw) != OK) throw UserError(std::string("OpenVINO cannot ") + what + " (" + last_error() + ").");
  return Handle(raw);
}

class OpenVino : public Backend {
 public:
  OpenVino(const std::string& path, const char* kind, bool is_int8, const BackendSettings& settings)
      : path_(path), is_int8_(is_int8), weights_(path.substr(0, path.rfind('.')) + ".bin") {
    // Beside its own cache oneDNN keeps the code of 1,024 products, some for each shape of a batch, and is no faster.
    setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "0", 0);
    core_ = made<Core>([](auto to) { return ov_core_create(to); }, "be started");
    try {
      const auto model = made<Model>([&](auto to) { return ov_core_read_model(core_.get(), path.c_str(), "", to); },
                                     "read it");
      compiled_ = made<Compiled>([&](auto to) { return compile(model.get(), settings, to); }, "compile it");
    } catch (const UserError& e) {
      throw bad_input(path, e.what(), kind);
    }
    std::size_t count = 0;
    ov_compiled_model_inputs_size(compiled_.get(), &inputs_);
    ov_compiled_model_outputs_size(compiled_.get(), &count);
    outputs_ = count;
    give_back(weights_);
  }

  std::size_t count_inputs() const override { return inputs_; }

  std::vector<Output> run(const std::vector<Input>& inputs) override {
    Request request = take();
    std::vector<Tensor> tensors;  // they live until the batch is computed
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      tensors.push_back(tensor_of(inputs[i]));
      check(ov_infer_request_set_input_tensor_by_index(request.get(), i, tensors.back().get()));
    }
    check(ov_infer_request_infer(request.get()));
    // Some products pack their weights when they first run.
    std::call_once(packed_, [&] { give_back(weights_); });
    std::vector<Output> outputs;
    for (std::size_t i = 0; i < outputs_; ++i) outputs.push_back(output(request.get(), i));
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(request));
    return outputs;
  }

 private:
  ov_status_e compile(const ov_model_t* model, const BackendSettings& settings, ov_compiled_model_t** to) const {
    const std::string threads = std::to_string(settings.threads * settings.streams);
    const std::string streams = std::to_string(settings.streams);
    const char* precision = settings.precision == Precision::bf16 ? "bf16" : "f32";
    // What is made for each shape of a batch is kept: hundreds of MB at the default. In int8 each product has code of its
    // own, whose making takes a third of the time of a pass over 900 short texts.
    const char* kept = is_int8_ ? "1000" : "256";
    // Pinning is no faster on an idle machine and a quarter slower on a busy one.
    return ov_core_compile_model(core_.get(), model, "CPU", 12, to, "INFERENCE_PRECISION_HINT", precision,
                                 "INFERENCE_NUM_THREADS", threads.c_str(), "NUM_STREAMS", streams.c_str(),
                                 "PERFORMANCE_HINT", "LATENCY", "ENABLE_CPU_PINNING", "NO",
                                 "CPU_RUNTIME_CACHE_CAPACITY", kept);
  }

  Request take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!idle_.empty()) {
        Request request = std::move(idle_.back());
        idle_.pop_back();
        return request;
      }
    }
    return made<Request>([&](auto to) { return ov_compiled_model_create_infer_request(compiled_.get(), to); },
                         "compute a batch");
  }

  void check(ov_status_e status) const {
    if (status != OK) throw bad_input(path_, "a batch that OpenVINO cannot compute (" + last_error() + ")", "a result");
  }

  Tensor tensor_of(const Input& input) const {
    const ov_shape_t shape{static_cast<std::int64_t>(input.shape.size()), const_cast<std::int64_t*>(input.shape.data())};
    ov_tensor_t* raw = nullptr;
    check(ov_tensor_create_from_host_ptr(input.type == Input::Type::int64 ? I64 : F32, shape,
                                         const_cast<void*>(input.data), &raw));
    return Tensor(raw);
  }

  Output output(const ov_infer_request_t* request, std::size_t index) const {
    ov_tensor_t* raw = nullptr;
    check(ov_infer_request_get_output_tensor_by_index(request, index, &raw));
    const Tensor tensor(raw);
    ov_element_type_e type = DYNAMIC;
    ov_shape_t shape{};
    std::size_t size = 0;
    void* data = nullptr;
    check(ov_tensor_get_element_type(raw, &type));
    if (type != F32) throw bad_input(path_, "an output that is not float32", "a model of `ernie export`");
    check(ov_tensor_get_shape(raw, &shape));
    Output made{std::vector<std::int64_t>(shape.dims, shape.dims + shape.rank), {}};
    ov_shape_free(&shape);
    check(ov_tensor_get_size(raw, &size));
    check(ov_tensor_data(raw, &data));
    const auto* values = static_cast<const float*>(data);
    made.values.assign(values, values + size);
    return made;
  }

  std::string path_;
  const bool is_int8_;
  std::string weights_;
  std::once_flag packed_;
  Core core_;
  Compiled compiled_;
  std::size_t inputs_ = 0, outputs_ = 0;
  std::mutex mutex_;
  std::vector<Request> idle_;
};

}  // namespace

std::unique_ptr<Backend> open_openvino(const Folder& folder, const BackendSettings& settings) {
  const bool is_onnx = folder.format == "onnx";
  if (is_onnx && folder.is_int8) {
    throw bad_input(folder.path, "a model in int8 for onnxruntime", "one for openvino", 0,
                    "ernie export MODEL --precision int8 --engine openvino makes one.");
  }
  if (settings.precision == Precision::int8 && !folder.is_int8) {
    throw bad_input(folder.path, "a model in fp32", "one that was exported in int8", 0,
                    "ernie export MODEL --precision int8 makes one; one of --export_format fused needs no other for it.");
  }
  const char* kind = is_onnx ? "an ONNX model" : "a model of OpenVINO";
  const std::string path = folder.path + (is_onnx ? "/model.onnx" : "/model.xml");
  if (!is_there(path)) throw bad_input(path, "no such file", kind);
  return std::make_unique<OpenVino>(path, kind, folder.is_int8, settings);
}

}  // namespace ernie
