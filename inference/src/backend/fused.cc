// The project's own kernels (propeller/ops/csrc): texts without padding, weights packed once, no library but OpenMP's.
// An export is the parameters by their names, `model.safetensors`.

#include <cmath>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/network.h"
#include "backend/safetensors.h"
#include "errors.h"
#include "json.h"

namespace ernie {
namespace {

constexpr std::int64_t kMost = (std::int64_t{1} << 31) - 1, kMostLayers = 10000;

void check_processor(const Folder& folder, Precision precision) {
  const std::string names = lacking(kBuiltFor);
  if (!names.empty()) {
    throw UserError("this program was compiled for a processor with " + names +
                    ", which this one lacks: build it here, or with -DERNIE_MARCH=x86-64-v3, or x86-64-v2.");
  }
  const bool is_missing = (precision == Precision::bf16 && !kMultipliesBfloat16) ||
                          (precision == Precision::int8 && !kMultipliesInt8);
  if (!is_missing) return;
  const bool is_int8 = precision == Precision::int8;
  throw bad_input(folder.path, is_int8 ? "precision int8" : "precision bf16", "fp32", 0,
                  std::string("The program was compiled for processors without products of ") +
                      (is_int8 ? "8 bits (avx512_vnni)." : "bfloat16 numbers (avx512_bf16)."));
}

// Reads `ernie_config.json`, and takes the parameters that it speaks of.
class Planner {
 public:
  Planner(const Folder& folder, std::shared_ptr<Tensors> tensors)
      : folder_(folder), path_(folder.path + "/ernie_config.json"),
        config_(read_json_object(path_, "the configuration of the model")), tensors_(std::move(tensors)) {}

  NetworkPlan plan() {
    const Json* encoder = config_.find("encoder");
    if (encoder != nullptr && !encoder->text().empty() && encoder->text() != "ernie") {
      throw bad_input(path_, "an encoder of the kind " + quoted(encoder->text()), "ernie", 0,
                      "ernie export MODEL --export_format openvino makes one that other backends read.");
    }
    read_sizes();
    read_answer();
    take_tables();
    take_norm("pre_encoder");
    for (std::int64_t i = 0; i < plan_.layers; ++i) take_layer("encoder_layer_" + std::to_string(i));
    plan_.owner = tensors_;
    plan_.packed = [tensors = tensors_] { tensors->give_back(); };
    return std::move(plan_);
  }

 private:
  using Shape = Tensors::Shape;

  std::int64_t needed(const char* name, std::int64_t most = kMost) const {
    const Json* value = config_.find(name);
    if (value == nullptr || value->is(Json::Kind::null)) throw bad_input(path_, std::string("no ") + name, "a whole number from 1");
    return count_of(config_, path_, name, 1, most, 1);
  }

  // Of what may be absent, or null.
  std::int64_t count(const char* name, std::int64_t least, std::int64_t otherwise) const {
    const Json* value = config_.find(name);
    const bool is_there = value != nullptr && !value->is(Json::Kind::null);
    return is_there ? count_of(config_, path_, name, least, kMost, otherwise) : otherwise;
  }

  void read_sizes() {
    plan_.hidden = needed("hidden_size");
    plan_.heads = needed("num_attention_heads");
    plan_.layers = needed("num_hidden_layers", kMostLayers);
    plan_.inner = count("intermediate_size", 1, 4 * plan_.hidden);
    if (plan_.hidden % plan_.heads != 0) {
      throw bad_input(path_, "hidden_size " + std::to_string(plan_.hidden),
                      "a multiple of num_attention_heads (" + std::to_string(plan_.heads) + ")");
    }
    const Json* epsilon = config_.find("layer_norm_eps");
    plan_.epsilon = 1e-5f;
    if (epsilon != nullptr && !epsilon->is(Json::Kind::null)) {
      plan_.epsilon = static_cast<float>(epsilon->is_number() ? epsilon->number() : 0);
      if (!(plan_.epsilon > 0) || !std::isfinite(plan_.epsilon)) throw bad_input(path_, "another layer_norm_eps", "a number > 0");
    }
    const Json* activation = config_.find("hidden_act");
    const std::string name = activation == nullptr ? "" : activation->text();
    if (name != "gelu" && name != "gelu_new" && name != "relu") {
      throw bad_input(path_, "hidden_act " + quoted(name), "gelu, gelu_new or relu");
    }
    using Activation = NetworkPlan::Activation;
    plan_.activation = name == "relu" ? Activation::relu : name == "gelu" ? Activation::gelu : Activation::gelu_tanh;
  }

  void read_answer() {
    if (folder_.gives_vectors) return read_vectors();
    const Json* task = folder_.labels.find("task");
    const std::string name = task == nullptr ? "classification" : task->text();
    if (name == "mrc") {
      plan_.answer = Answer::span;
      take_head("cls_mrc_out", 2);
    } else if (name == "sequence_labeling") {
      const std::string path = folder_.path + "/labels.json";
      plan_.answer = flag_of(folder_.labels, path, "use_crf", false) ? Answer::emissions : Answer::labels;
      take_head("cls_seq_label_out", count_of(folder_.labels, path, "num_labels", 1, kMost, 1));
    } else {
      read_classes();
    }
  }

  void read_classes() {
    const std::string path = folder_.path + "/labels.json";
    const Json* kind = folder_.labels.find("kind");
    const std::string name = kind == nullptr ? "classify" : kind->text();
    plan_.answer = name == "regression"   ? Answer::value
                   : name == "multilabel" ? Answer::chances
                                          : Answer::probabilities;
    const Shape* shape = tensors_->shape("_cls_out_w");  // a folder of 2019 says nothing of its labels
    const std::int64_t found = shape != nullptr && shape->size() == 2 ? (*shape)[1] : 1;
    take_head("_cls_out", count_of(folder_.labels, path, "num_labels", 1, kMost, found));
    take_pooling();
  }

  void read_vectors() {
    const std::string path = folder_.path + "/inference.json";
    const Json& vectors = *folder_.inference.find("vectors");
    const Json* pooling = vectors.find("pooling");
    const std::string name = pooling == nullptr ? "" : pooling->text();
    const std::int64_t all = plan_.layers;
    plan_.layers = count_of(vectors, path, "layer", 0, all, all);
    if (name == "pooled") {
      plan_.answer = Answer::pooled;
      plan_.layers = all;
      take_pooling();
    } else if (name == "cls" || name == "mean" || name == "max") {
      plan_.answer = name == "cls" ? Answer::first : name == "mean" ? Answer::mean : Answer::most;
    } else {
      throw bad_input(path, "pooling " + quoted(name), "pooled, cls, mean or max");
    }
  }

  const float* take(const std::string& name, const Shape& shape) {
    const float* values = tensors_->values(name, shape);
    tensors_->give_back();  // they were read to be checked
    return values;
  }

  void take_table(const char* name, std::int64_t rows) {
    plan_.values.push_back(take(name, {rows, plan_.hidden}));
    plan_.table_rows.push_back(rows);
  }

  void take_tables() {
    const std::int64_t types = count("sent_type_vocab_size", 0, 0);
    take_table("word_embedding", needed("vocab_size"));
    take_table("pos_embedding", needed("max_position_embeddings"));
    take_table("sent_embedding", types > 0 ? types : count("type_vocab_size", 1, 1));
    if (folder_.has_task_id) take_table("task_embedding", needed("task_type_vocab_size"));
    plan_.tables = static_cast<std::int64_t>(plan_.table_rows.size());
  }

  void take_norm(const std::string& name) {
    for (const char* part : {"_layer_norm_scale", "_layer_norm_bias"}) plan_.values.push_back(take(name + part, {plan_.hidden}));
  }

  void take_linear(const std::string& name, std::int64_t inputs, std::int64_t outputs) {
    plan_.values.push_back(take(name + ".w_0", {inputs, outputs}));
    plan_.values.push_back(take(name + ".b_0", {outputs}));
  }

  void take_layer(const std::string& name) {
    for (const char* part : {"query", "key", "value", "output"}) {
      take_linear(name + "_multi_head_att_" + part + "_fc", plan_.hidden, plan_.hidden);
    }
    take_norm(name + "_post_att");
    take_linear(name + "_ffn_fc_0", plan_.hidden, plan_.inner);
    take_linear(name + "_ffn_fc_1", plan_.inner, plan_.hidden);
    take_norm(name + "_post_ffn");
  }

  void take_head(const std::string& name, std::int64_t outputs) {
    plan_.head = {take(name + "_w", {plan_.hidden, outputs}), take(name + "_b", {outputs}), outputs};
  }

  void take_pooling() {
    plan_.pooling = {take("pooled_fc.w_0", {plan_.hidden, plan_.hidden}), take("pooled_fc.b_0", {plan_.hidden}), plan_.hidden};
  }

  const Folder& folder_;
  const std::string path_;
  const Json config_;
  std::shared_ptr<Tensors> tensors_;
  NetworkPlan plan_{};
};

}  // namespace

std::unique_ptr<Backend> open_fused(const Folder& folder, const BackendSettings& settings) {
  BackendSettings how = settings;
  if (folder.is_int8) how.precision = Precision::int8;
  check_processor(folder, how.precision);
  const auto tensors = std::make_shared<Tensors>(folder.path + "/model.safetensors");
  const NetworkPlan plan = Planner(folder, tensors).plan();
  auto network = make_network(plan, tensors->path(), how);
  tensors->keep({"word_embedding", "pos_embedding", "sent_embedding", "task_embedding"});
  return network;
}

}  // namespace ernie
