// Paddle's operator `propeller_first_attention`. See first_attention.h for the computation, first_attention.py for what users
// call.
#include "first_attention.h"
#include "tensors.h"

namespace ops::first_attention_op {
namespace {

using paddle::DataType;
using paddle::Tensor;

const std::string kOp = "first_attention";

void check_square(const std::string& name, const Shape& weight, const Shape& x) {
  if (weight.size() != 2 || !fits(weight[0], x[1]) || !fits(weight[1], x[1])) {
    refuse(kOp + ": the " + name + " weight has shape " + text(weight) + ", expected [hidden, hidden] for x of shape " +
           text(x));
  }
}

void check_vector(const std::string& name, const Shape& vector, int64_t size, const std::string& expected) {
  if (vector.size() != 1 || !fits(vector[0], size)) {
    refuse(kOp + ": " + name + " has shape " + text(vector) + ", expected " + expected);
  }
}

void check_shapes(const Shape& x, const Shape& starts, const Shape& firsts, const std::vector<Shape>& weights,
                  const std::vector<Shape>& biases, int64_t heads) {
  if (heads < 1 || x.size() != 2 || (x[1] >= 0 && (x[1] < 1 || x[1] % heads != 0))) {
    refuse(kOp + ": x has shape " + text(x) + ", expected [tokens, hidden] with hidden in " + std::to_string(heads) +
           " heads");
  }
  const std::string names[] = {"query", "key", "value"};
  for (size_t i = 0; i < weights.size(); ++i) check_square(names[i], weights[i], x);
  for (size_t i = 0; i < biases.size(); ++i) {
    check_vector("the " + names[i] + " bias", biases[i], x[1], "[hidden] for x of shape " + text(x));
  }
  if (starts.size() != 1 || starts[0] == 0) refuse(kOp + ": starts has shape " + text(starts) + ", expected [rows + 1]");
  check_vector("firsts", firsts, starts[0] < 0 ? -1 : starts[0] - 1, "[rows] for starts of shape " + text(starts));
}

struct Inputs {
  const Tensor &x, &starts, &firsts;
  const Tensor* weights[3];
  const Tensor *query_bias, *key_bias, *value_bias;  // the backward pass reads no others than that of the values
};

FirstAttentionShape shape_of(const Inputs& inputs, int64_t heads) {
  require_float32(inputs.x, kOp, "x");
  require_int64(inputs.starts, kOp, "starts");
  require_int64(inputs.firsts, kOp, "firsts");
  std::vector<Shape> weights;
  for (const Tensor* weight : inputs.weights) {
    require_float32(*weight, kOp, "a weight");
    weights.push_back(weight->shape());
  }
  require_float32(*inputs.value_bias, kOp, "the value bias");
  const Shape value_bias = inputs.value_bias->shape();
  check_shapes(inputs.x.shape(), inputs.starts.shape(), inputs.firsts.shape(), weights,
               {inputs.query_bias ? inputs.query_bias->shape() : value_bias,
                inputs.key_bias ? inputs.key_bias->shape() : value_bias, value_bias},
               heads);
  const FirstAttentionShape shape{inputs.x.shape()[0],          inputs.x.shape()[1],
                                  heads,                        inputs.firsts.shape()[0],
                                  inputs.starts.data<int64_t>(), inputs.firsts.data<int64_t>()};
  bool ordered = shape.starts[0] == 0 && shape.starts[shape.rows] == shape.tokens;
  for (int64_t i = 0; i < shape.rows; ++i) {
    const int64_t start = shape.starts[i], next = shape.starts[i + 1], first = shape.firsts[i];
    ordered = ordered && start <= next && (first == -1 || (first == start && start < next));
  }
  if (!ordered) {
    refuse(kOp + ": starts of shape " + text(inputs.starts.shape()) + " must rise from 0 to the " +
           std::to_string(shape.tokens) + " tokens of x of shape " + text(inputs.x.shape()) +
           ", and firsts hold the same or -1");
  }
  return shape;
}

// Shapes of what is kept: queries, probes, contexts, weights.
std::vector<Shape> kept_shapes(const Shape& x, const Shape& firsts, int64_t heads) {
  const FirstAttentionShape shape{x[0], x[1], heads, firsts[0], nullptr, nullptr};
  const int64_t wide = x[1] < 0 ? -1 : shape.wide();
  return {{firsts[0], x[1]}, {heads, firsts[0], wide}, {heads, firsts[0], wide}, {x[0], shape.lanes()}};
}

std::vector<Tensor> forward(const Tensor& x, const Tensor& starts, const Tensor& firsts, const Tensor& query,
                            const Tensor& key, const Tensor& value, const Tensor& query_bias, const Tensor& key_bias,
                            const Tensor& value_bias, const paddle::optional<Tensor>& seed, int64_t heads,
                            float dropout, int64_t site, bool, bool) {
  const Inputs inputs{x, starts, firsts, {&query, &key, &value}, &query_bias, &key_bias, &value_bias};
  const FirstAttentionShape shape = shape_of(inputs, heads);
  require_float32(query_bias, kOp, "the query bias");
  const Dropout drop = dropout_from(kOp, dropout, seed, site);
  std::vector<Tensor> results{new_tensor({shape.rows, shape.hidden})};
  for (const Shape& kept : kept_shapes(x.shape(), firsts.shape(), heads)) results.push_back(new_tensor(kept));
  run(kOp.c_str(), [&] {
    first_attention_forward(shape, drop, x.data<float>(),
                            {query.data<float>(), key.data<float>(), value.data<float>(), query_bias.data<float>(),
                             value_bias.data<float>()},
                            {results[1].data<float>(), results[2].data<float>(), results[3].data<float>(),
                             results[4].data<float>()},
                            results[0].data<float>());
  });
  return results;
}

// A gradient that nobody wants is an empty tensor.
std::vector<Tensor> backward(const Tensor& x, const Tensor& starts, const Tensor& firsts, const Tensor& query,
                             const Tensor& key, const Tensor& value, const Tensor& value_bias,
                             const paddle::optional<Tensor>& seed, const Tensor& queries, const Tensor& probes,
                             const Tensor& contexts, const Tensor& weights, const Tensor& dy, int64_t heads,
                             float dropout, int64_t site, bool x_wanted, bool weights_wanted) {
  const FirstAttentionShape shape =
      shape_of({x, starts, firsts, {&query, &key, &value}, nullptr, nullptr, &value_bias}, heads);
  const Dropout drop = dropout_from(kOp, dropout, seed, site);
  check_like(kOp, "the gradient", dy, {shape.rows, shape.hidden});
  std::vector<Tensor> found{new_tensor(x_wanted ? x.shape() : Shape{0})};
  for (int i = 0; i < 3; ++i) found.push_back(new_tensor(weights_wanted ? query.shape() : Shape{0}));
  for (int i = 0; i < 3; ++i) found.push_back(new_tensor({shape.hidden}));
  const auto weight_gradient = [&](int i) { return weights_wanted ? found[i].data<float>() : nullptr; };
  run("first_attention's gradient", [&] {
    first_attention_backward(
        shape, drop, x.data<float>(),
        {query.data<float>(), key.data<float>(), value.data<float>(), nullptr, value_bias.data<float>()},
        {queries.data<float>(), probes.data<float>(), contexts.data<float>(), weights.data<float>()},
        dy.data<float>(),
        {x_wanted ? found[0].data<float>() : nullptr, weight_gradient(1), weight_gradient(2), weight_gradient(3),
         found[4].data<float>(), found[5].data<float>(), found[6].data<float>()});
  });
  return found;
}

std::vector<Shape> infer_shape(const Shape& x, const Shape& starts, const Shape& firsts, const Shape& query,
                               const Shape& key, const Shape& value, const Shape& query_bias, const Shape& key_bias,
                               const Shape& value_bias, const paddle::optional<Shape>&, int64_t heads, float, int64_t,
                               bool, bool) {
  check_shapes(x, starts, firsts, {query, key, value}, {query_bias, key_bias, value_bias}, heads);
  std::vector<Shape> shapes{{firsts[0], x[1]}};
  for (const Shape& kept : kept_shapes(x, firsts, heads)) shapes.push_back(kept);
  return shapes;
}

std::vector<Shape> infer_gradients(const Shape& x, const Shape&, const Shape&, const Shape& query, const Shape& key,
                                   const Shape& value, const Shape& value_bias, const paddle::optional<Shape>&,
                                   const Shape&, const Shape&, const Shape&, const Shape&, const Shape&) {
  return {x, query, key, value, value_bias, value_bias, value_bias};
}

std::vector<DataType> infer_type(const DataType&, const DataType&, const DataType&, const DataType&, const DataType&,
                                 const DataType&, const DataType&, const DataType&, const DataType&,
                                 const paddle::optional<DataType>&) {
  return std::vector<DataType>(5, DataType::FLOAT32);
}

}  // namespace
}  // namespace ops::first_attention_op

PD_BUILD_OP(propeller_first_attention)
    .Inputs({"X", "Starts", "Firsts", "Query", "Key", "Value", "QueryBias", "KeyBias", "ValueBias",
             paddle::Optional("Seed")})
    .Outputs({"Out", "Queries", "Probes", "Contexts", "Weights"})
    .Attrs({"heads: int64_t", "dropout: float", "site: int64_t", "x_wanted: bool", "weights_wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::first_attention_op::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::first_attention_op::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::first_attention_op::infer_type));

PD_BUILD_GRAD_OP(propeller_first_attention)
    .Inputs({"X", "Starts", "Firsts", "Query", "Key", "Value", "ValueBias", paddle::Optional("Seed"), "Queries",
             "Probes", "Contexts", "Weights", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Query"), paddle::Grad("Key"), paddle::Grad("Value"),
              paddle::Grad("QueryBias"), paddle::Grad("KeyBias"), paddle::Grad("ValueBias")})
    .Attrs({"heads: int64_t", "dropout: float", "site: int64_t", "x_wanted: bool", "weights_wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::first_attention_op::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::first_attention_op::infer_gradients));
