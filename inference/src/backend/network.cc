#include "backend/network.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>

#include "csrc/encoder.h"
#include "csrc/packed.h"
#include "csrc/support.h"
#include "csrc/threads.h"
#include "csrc/tokens.h"
#include "errors.h"

namespace ernie {
namespace {

constexpr std::int64_t kRowsAtOnce = 24;  // that a thread multiplies with a linear layer: their sums stay in its first cache
constexpr float kClosed = -10000.0f;      // where no answer may begin or end

// Lets as many batches be computed at the same time as there are streams.
class Gate {
 public:
  explicit Gate(int streams) : free_(streams) {}

  class Pass {
   public:
    explicit Pass(Gate& gate) : gate_(gate) {
      std::unique_lock<std::mutex> lock(gate_.mutex_);
      gate_.left_.wait(lock, [&] { return gate_.free_ > 0; });
      --gate_.free_;
    }
    ~Pass() {
      {
        const std::lock_guard<std::mutex> lock(gate_.mutex_);
        ++gate_.free_;
      }
      gate_.left_.notify_one();
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

   private:
    Gate& gate_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable left_;
  int free_;
};

// A linear layer in float32, whatever the precision of the encoder: its scores decide.
class Linear {
 public:
  Linear(std::int64_t inputs, const LinearLayer& layer)
      : inputs_(inputs), outputs_(layer.outputs),
        weight_(ops::Form::kFloat32, inputs, layer.outputs, {layer.weight}, {layer.bias}) {}

  std::int64_t outputs() const { return outputs_; }

  // [rows, outputs] of x [rows, inputs]
  std::vector<float> of(const float* x, std::int64_t rows) const {
    std::vector<float> out(static_cast<std::size_t>(rows * outputs_));
    ops::parallel_for(ops::ceil_div(rows, kRowsAtOnce), [&](std::int64_t block) {
      const std::int64_t first = block * kRowsAtOnce, count = std::min(kRowsAtOnce, rows - first);
      multiply(x + first * inputs_, count, out.data() + first * outputs_);
    });
    return out;
  }

 private:
  void multiply(const float* x, std::int64_t count, float* out) const {
    const std::int64_t stride = ops::round_up(inputs_, ops::kLanes);
    ops::Scratch memory;
    const ops::LeftRows left{memory.get<std::uint32_t>(count * stride), nullptr, stride};
    for (std::int64_t i = 0; i < count; ++i) ops::put_row(ops::Form::kFloat32, x + i * inputs_, inputs_, i, left);
    float sums[kRowsAtOnce * ops::kPanelColumns];
    for (std::int64_t panel = 0; panel < weight_.panels(); ++panel) {
      const std::int64_t column = panel * ops::kPanelColumns, width = weight_.width(panel);
      weight_.multiply(panel, left, 0, count, sums);
      for (std::int64_t i = 0; i < count; ++i) {
        std::copy_n(sums + i * width, std::min(width, outputs_ - column), out + i * outputs_ + column);
      }
    }
  }

  std::int64_t inputs_, outputs_;
  ops::PackedWeight weight_;
};

void softmax(float* row, std::int64_t count) {
  const float most = *std::max_element(row, row + count);
  float sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += row[i] = std::exp(row[i] - most);
  for (std::int64_t i = 0; i < count; ++i) row[i] /= sum;
}

// A batch without its padding. Rows that have no token are left out.
struct Batch {
  std::int64_t rows, length;
  const float* mask;
  const std::int64_t* types;
  std::vector<std::int64_t> starts, places;  // places [rows, length]: number of the token there; -1: padding
  std::vector<std::int64_t> numbers;         // of the rows that have tokens
  std::vector<std::vector<std::int64_t>> ids;

  Batch(const std::vector<Input>& inputs, std::size_t tables)
      : rows(inputs[0].shape[0]), length(inputs[0].shape[1]), mask(static_cast<const float*>(inputs[3].data)),
        types(static_cast<const std::int64_t*>(inputs[1].data)), places(static_cast<std::size_t>(rows * length)) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(rows + 1));
    std::vector<std::int64_t> tokens(static_cast<std::size_t>(ops::count_tokens(mask, rows * length)));
    ops::lay_out_tokens(mask, rows, length, {all.data(), tokens.data(), places.data()});
    for (std::int64_t row = 0; row < rows; ++row) {
      if (all[row] == all[row + 1]) continue;
      numbers.push_back(row);
      starts.push_back(all[row]);
    }
    starts.push_back(all[rows]);
    constexpr std::size_t kInputOfTable[] = {0, 2, 1, 4};  // words, positions, sentence types, tasks
    for (std::size_t table = 0; table < tables; ++table) {
      const auto* values = static_cast<const std::int64_t*>(inputs[kInputOfTable[table]].data);
      std::vector<std::int64_t>& own = ids.emplace_back();
      for (const std::int64_t token : tokens) own.push_back(values[token]);
    }
  }

  std::int64_t tokens() const { return starts.back(); }

  ops::TokenRows token_rows() const {
    ops::TokenRows made{static_cast<std::int64_t>(numbers.size()), starts.data(), {}};
    for (const auto& own : ids) made.ids.push_back(own.data());
    return made;
  }
};

ops::EncoderShape shape_of(const NetworkPlan& plan) {
  const ops::Activation activation = plan.activation == NetworkPlan::Activation::gelu        ? ops::Activation::kGelu
                                     : plan.activation == NetworkPlan::Activation::gelu_tanh ? ops::Activation::kGeluTanh
                                                                                             : ops::Activation::kRelu;
  return {plan.tables, plan.hidden, plan.inner, plan.heads, plan.layers, plan.epsilon, activation};
}

ops::Form form_of(Precision precision) {
  switch (precision) {
    case Precision::bf16: return ops::Form::kBfloat16;
    case Precision::int8: return ops::Form::kInt8;
    default: return ops::Form::kFloat32;
  }
}

class Network : public Backend {
 public:
  Network(const NetworkPlan& plan, const std::string& path, const BackendSettings& settings)
      : path_(path), answer_(plan.answer), hidden_(plan.hidden), threads_(settings.threads), gate_(settings.streams),
        owner_(plan.owner) {
    const ops::Threads all(settings.threads * settings.streams);
    encoder_ = std::make_unique<ops::Encoder>(shape_of(plan), form_of(settings.precision), plan.values, plan.table_rows,
                                              plan.packed);
    if (plan.pooling.weight != nullptr) pooling_ = std::make_unique<Linear>(hidden_, plan.pooling);
    if (plan.head.weight != nullptr) head_ = std::make_unique<Linear>(hidden_, plan.head);
    plan.packed();
  }

  std::size_t count_inputs() const override { return encoder_->shape().tables == 4 ? 5 : 4; }

  std::vector<Output> run(const std::vector<Input>& inputs) override {
    const Batch batch(inputs, static_cast<std::size_t>(encoder_->shape().tables));
    const ops::TokenRows tokens = batch.token_rows();
    const std::string wrong = encoder_->wrong_id(tokens);
    if (!wrong.empty()) throw UserError(path_ + ": " + wrong + ".");
    const Gate::Pass pass(gate_);
    const ops::Threads own(threads_);
    ops::Scratch memory;
    float* const found = memory.get<float>((of_firsts() ? tokens.rows : batch.tokens()) * hidden_);
    encoder_->run(tokens, of_firsts(), found);
    return of_firsts() ? of_rows(batch, found) : of_tokens(batch, found);
  }

 private:
  bool of_firsts() const { return answer_ <= Answer::first; }

  std::vector<Output> of_rows(const Batch& batch, const float* found) const {
    // The first column's are wanted: zeros where it is padding.
    std::vector<float> values(static_cast<std::size_t>(batch.rows * hidden_));
    for (std::size_t i = 0; i < batch.numbers.size(); ++i) {
      const std::int64_t row = batch.numbers[i];
      if (batch.places[row * batch.length] < 0) continue;
      std::copy_n(found + static_cast<std::int64_t>(i) * hidden_, hidden_, values.data() + row * hidden_);
    }
    std::int64_t width = hidden_;
    if (pooling_) {
      values = pooling_->of(values.data(), batch.rows);
      for (float& value : values) value = std::tanh(value);
    }
    if (head_) {
      values = head_->of(values.data(), batch.rows);
      width = head_->outputs();
    }
    if (answer_ == Answer::probabilities) {
      for (std::int64_t row = 0; row < batch.rows; ++row) softmax(values.data() + row * width, width);
    } else if (answer_ == Answer::chances) {
      for (float& value : values) value = 1.0f / (1.0f + std::exp(-value));
    }
    return {{{batch.rows, width}, std::move(values)}};
  }

  std::vector<Output> of_tokens(const Batch& batch, const float* found) const {
    if (answer_ == Answer::mean || answer_ == Answer::most) return {over_tokens(batch, found)};
    std::vector<float> scores = head_->of(found, batch.tokens());
    const std::int64_t width = head_->outputs();
    if (answer_ == Answer::span) return span(batch, scores);
    if (answer_ == Answer::labels) {
      for (std::int64_t i = 0; i < batch.tokens(); ++i) softmax(scores.data() + i * width, width);
    }
    Output made{{batch.rows, batch.length, width}, std::vector<float>(batch.places.size() * width)};
    for (std::size_t i = 0; i < batch.places.size(); ++i) {
      if (batch.places[i] >= 0) std::copy_n(scores.data() + batch.places[i] * width, width, made.values.data() + i * width);
    }
    return {std::move(made)};
  }

  Output over_tokens(const Batch& batch, const float* found) const {
    Output made{{batch.rows, hidden_}, std::vector<float>(static_cast<std::size_t>(batch.rows * hidden_))};
    for (std::size_t i = 0; i < batch.numbers.size(); ++i) {
      float* const out = made.values.data() + batch.numbers[i] * hidden_;
      const std::int64_t first = batch.starts[i], last = batch.starts[i + 1];
      std::copy_n(found + first * hidden_, hidden_, out);
      for (std::int64_t token = first + 1; token < last; ++token) {
        const float* const x = found + token * hidden_;
        for (std::int64_t j = 0; j < hidden_; ++j) out[j] = answer_ == Answer::mean ? out[j] + x[j] : std::max(out[j], x[j]);
      }
      if (answer_ != Answer::mean) continue;
      for (std::int64_t j = 0; j < hidden_; ++j) out[j] /= static_cast<float>(last - first);
    }
    return made;
  }

  // An answer lies in the document, or at the first token, which stands for none; never at the row's last token.
  std::vector<Output> span(const Batch& batch, const std::vector<float>& scores) const {
    std::vector<Output> made(2, {{batch.rows, batch.length}, std::vector<float>(batch.places.size(), kClosed)});
    for (std::int64_t i = 0; i < batch.rows * batch.length; ++i) {
      const std::int64_t column = i % batch.length;
      const bool follows = column + 1 < batch.length && batch.mask[i + 1] != 0;
      if (batch.places[i] < 0 || (column > 0 && (batch.types[i] == 0 || !follows))) continue;
      for (std::int64_t k = 0; k < 2; ++k) made[k].values[i] = scores[batch.places[i] * 2 + k];
    }
    return made;
  }

  const std::string path_;
  const Answer answer_;
  const std::int64_t hidden_;
  const int threads_;
  Gate gate_;
  const std::shared_ptr<const void> owner_;
  std::unique_ptr<const ops::Encoder> encoder_;
  std::unique_ptr<const Linear> pooling_, head_;
};

}  // namespace

std::unique_ptr<Backend> make_network(const NetworkPlan& plan, const std::string& path, const BackendSettings& settings) {
  return std::make_unique<Network>(plan, path, settings);
}

}  // namespace ernie
