// The network of the backend `fused`: the kernels of propeller/ops/csrc, and what follows them. What includes those is
// compiled for one processor (ERNIE_MARCH): nothing here may be called before `lacking(kBuiltFor)` says that it is there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/processor.h"

namespace ernie {

// What the kernels were compiled for; ends with one without a name.
extern const Feature kBuiltFor[];

// Whether products of these numbers are fast: the kernels were compiled for a processor that has them.
extern const bool kMultipliesBfloat16, kMultipliesInt8;

// What is made of the encoder's vectors: of the first token's, through the pooling layer where it has one, or of all.
enum class Answer {
  probabilities,  // softmax of a linear layer over the pooled vector: [rows, outputs]
  chances,        // the logistic function of each: [rows, outputs]
  value,          // the linear layer itself: [rows, outputs]
  pooled,         // the pooled vector: [rows, hidden]
  first,          // that of the first token: [rows, hidden]
  mean, most,     // over tokens: [rows, hidden]
  labels,         // softmax of a linear layer over each token: [rows, length, outputs]
  emissions,      // the layer itself: [rows, length, outputs]
  span            // its two values, where an answer may begin and end: twice [rows, length]
};

// A linear layer: weight [inputs, outputs], bias [outputs].
struct LinearLayer {
  const float *weight = nullptr, *bias = nullptr;
  std::int64_t outputs = 0;
};

struct NetworkPlan {
  std::int64_t tables, hidden, inner, heads, layers;
  float epsilon;
  enum class Activation { gelu, gelu_tanh, relu } activation;
  std::vector<const float*> values;       // as `ops::Encoder` takes them
  std::vector<std::int64_t> table_rows;
  Answer answer;
  LinearLayer pooling, head;              // those that the answer needs
  std::shared_ptr<const void> owner;      // of the tables, which are read where they are
  std::function<void()> packed;           // called when values have been read that are needed no more
};

// path: of the model, for messages.
std::unique_ptr<Backend> make_network(const NetworkPlan& plan, const std::string& path, const BackendSettings& settings);

}  // namespace ernie
