// Paddle's operator `propeller_self_attention`. See self_attention.h for the computation, sublayers.py for what users call.
#include "self_attention.h"

#include "attention_tensors.h"
#include "norm_tensors.h"

namespace ops::self_attention_op {
namespace {

using paddle::DataType;
using paddle::Tensor;
using MaybeTensor = paddle::optional<Tensor>;
using MaybeShape = paddle::optional<Shape>;
using MaybeType = paddle::optional<DataType>;

const std::string kName = "self_attention";

struct Dropouts {
  Dropout weights, units;
};

Dropouts dropouts_of(const MaybeTensor& weights_seed, const MaybeTensor& seed, float of_weights, int64_t weights_site,
                     float of_units, int64_t site) {
  return {dropout_from(kName, of_weights, weights_seed, weights_site), dropout_from(kName, of_units, seed, site)};
}

void check_layer(const Tensor& weight, const Tensor& bias, int64_t hidden, const std::string& which) {
  check_like(kName, "weight of " + which, weight, {hidden, hidden});
  check_like(kName, "bias of " + which, bias, {hidden});
}

std::vector<Tensor> forward(const Tensor& x, const Tensor& query, const Tensor& key, const Tensor& value,
                            const Tensor& query_bias, const Tensor& key_bias, const Tensor& value_bias,
                            const Tensor& output, const Tensor& output_bias, const Tensor& scale, const Tensor& bias,
                            const Tensor& starts, const MaybeTensor& weights_seed, const MaybeTensor& seed,
                            int64_t heads, const std::string& precision, float epsilon, float of_weights,
                            int64_t weights_site, float of_units, int64_t site, bool, bool kept) {
  check_norm(kName, "x", x, scale, bias);
  if (x.shape().size() != 2 || heads < 1 || x.shape()[1] % heads != 0) {
    refuse(kName + ": x has shape " + text(x.shape()) + ", expected [tokens, hidden] with hidden in " +
           std::to_string(heads) + " heads");
  }
  const AttentionShape shape = attention_shape(kName, "x", x.shape(), 1, starts, heads);
  const int64_t tokens = shape.tokens, hidden = shape.hidden;
  check_layer(query, query_bias, hidden, "queries");
  check_layer(key, key_bias, hidden, "keys");
  check_layer(value, value_bias, hidden, "values");
  check_layer(output, output_bias, hidden, "the output");
  const Precision products = precision_of(precision);
  const auto keep = [&](const Shape& size, DataType type) { return new_tensor(kept ? size : Shape{0}, type); };
  Tensor y = new_tensor(x.shape()), stats = new_tensor(stats_shape(x.shape())), qkv = new_tensor({tokens, 3 * hidden});
  Tensor inputs = keep({hidden, depth_of(tokens)}, type_of(products));
  Tensor context = keep({hidden, depth_of(tokens)}, type_of(products));
  Tensor terms = keep({2, heads, tokens}, DataType::FLOAT32), sum = keep(x.shape(), DataType::FLOAT32);
  run(kName.c_str(), [&] {
    const Dropouts dropouts = dropouts_of(weights_seed, seed, of_weights, weights_site, of_units, site);
    const SelfAttention layer{shape, products, dropouts.weights, dropouts.units, epsilon,
                              {query.data<float>(), key.data<float>(), value.data<float>()},
                              {query_bias.data<float>(), key_bias.data<float>(), value_bias.data<float>()},
                              output.data<float>(), output_bias.data<float>(), scale.data<float>(), bias.data<float>()};
    SelfAttentionKept<void*, float*> places{nullptr, nullptr, qkv.data<float>(), nullptr, y.data<float>(),
                                            stats.data<float>()};
    if (kept) {
      places = {inputs.data(), context.data(), qkv.data<float>(), terms.data<float>(), sum.data<float>(),
                stats.data<float>()};
    }
    self_attention(layer, x.data<float>(), places, y.data<float>());
  });
  if (!kept) qkv = new_tensor({0});
  return {y, inputs, context, qkv, terms, sum, stats};
}

// A gradient that nobody wants is an empty tensor.
std::vector<Tensor> backward(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& output,
                             const Tensor& scale, const Tensor& starts, const MaybeTensor& weights_seed,
                             const MaybeTensor& seed, const Tensor& inputs, const Tensor& context, const Tensor& qkv,
                             const Tensor& terms, const Tensor& sum, const Tensor& stats, const Tensor& dy,
                             int64_t heads, const std::string& precision, float epsilon, float of_weights,
                             int64_t weights_site, float of_units, int64_t site, bool x_wanted, bool kept) {
  if (!kept) refuse(kName + ": has no gradients where nothing was kept for them");
  check_like(kName, "the gradient", dy, sum.shape());
  const AttentionShape shape = attention_shape(kName, "x", sum.shape(), 1, starts, heads);
  const Shape matrix{shape.hidden, shape.hidden}, vector{shape.hidden};
  std::vector<Tensor> found{new_tensor(x_wanted ? sum.shape() : Shape{0})};
  for (int i = 0; i < 3; ++i) found.push_back(new_tensor(matrix));
  for (int i = 0; i < 3; ++i) found.push_back(new_tensor(vector));
  found.push_back(new_tensor(matrix));
  for (int i = 0; i < 3; ++i) found.push_back(new_tensor(vector));
  std::vector<float*> d;
  for (Tensor& gradient : found) d.push_back(gradient.data<float>());
  run("self_attention's gradient", [&] {
    const Dropouts dropouts = dropouts_of(weights_seed, seed, of_weights, weights_site, of_units, site);
    const SelfAttention layer{shape, precision_of(precision), dropouts.weights, dropouts.units, epsilon,
                              {query.data<float>(), key.data<float>(), value.data<float>()}, {}, output.data<float>(),
                              nullptr, scale.data<float>(), nullptr};
    self_attention_gradients(layer,
                             {inputs.data(), context.data(), qkv.data<float>(), terms.data<float>(), sum.data<float>(),
                              stats.data<float>()},
                             dy.data<float>(),
                             {x_wanted ? d[0] : nullptr, {d[1], d[2], d[3]}, {d[4], d[5], d[6]}, d[7], d[8], d[9], d[10]});
  });
  return found;
}

std::vector<Shape> infer_shapes(const Shape& x, const Shape&, const Shape&, const Shape&, const Shape&, const Shape&,
                                const Shape&, const Shape&, const Shape&, const Shape&, const Shape&, const Shape&,
                                const MaybeShape&, const MaybeShape&) {
  const int64_t tokens = x[0], hidden = x[1];
  return {x, {hidden, -1}, {hidden, -1}, {tokens, hidden < 0 ? -1 : 3 * hidden}, {2, -1, tokens}, x, stats_shape(x)};
}

std::vector<Shape> infer_gradients(const Shape& query, const Shape& key, const Shape& value, const Shape& output,
                                   const Shape& scale, const Shape&, const MaybeShape&, const MaybeShape&, const Shape&,
                                   const Shape&, const Shape&, const Shape&, const Shape& sum, const Shape&,
                                   const Shape&) {
  return {sum, query, key, value, scale, scale, scale, output, scale, scale, scale};
}

std::vector<DataType> infer_types(const DataType&, const DataType&, const DataType&, const DataType&, const DataType&,
                                  const DataType&, const DataType&, const DataType&, const DataType&, const DataType&,
                                  const DataType&, const DataType&, const MaybeType&, const MaybeType&, int64_t,
                                  const std::string& precision, float, float, int64_t, float, int64_t, bool, bool) {
  const DataType products = type_of(precision_of(precision)), numbers = DataType::FLOAT32;
  return {numbers, products, products, numbers, numbers, numbers, numbers};
}

}  // namespace
}  // namespace ops::self_attention_op

PD_BUILD_OP(propeller_self_attention)
    .Inputs({"X", "Query", "Key", "Value", "QueryBias", "KeyBias", "ValueBias", "Output", "OutputBias", "Scale", "Bias",
             "Starts", paddle::Optional("WeightsSeed"), paddle::Optional("Seed")})
    .Outputs({"Out", "Inputs", "Context", "QKV", "Terms", "Sum", "Stats"})
    .Attrs({"heads: int64_t", "precision: std::string", "epsilon: float", "of_weights: float", "weights_site: int64_t",
            "of_units: float", "site: int64_t", "x_wanted: bool", "kept: bool"})
    .SetKernelFn(PD_KERNEL(ops::self_attention_op::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::self_attention_op::infer_shapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::self_attention_op::infer_types));

PD_BUILD_GRAD_OP(propeller_self_attention)
    .Inputs({"Query", "Key", "Value", "Output", "Scale", "Starts", paddle::Optional("WeightsSeed"),
             paddle::Optional("Seed"), "Inputs", "Context", "QKV", "Terms", "Sum", "Stats", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Query"), paddle::Grad("Key"), paddle::Grad("Value"),
              paddle::Grad("QueryBias"), paddle::Grad("KeyBias"), paddle::Grad("ValueBias"), paddle::Grad("Output"),
              paddle::Grad("OutputBias"), paddle::Grad("Scale"), paddle::Grad("Bias")})
    .Attrs({"heads: int64_t", "precision: std::string", "epsilon: float", "of_weights: float", "weights_site: int64_t",
            "of_units: float", "site: int64_t", "x_wanted: bool", "kept: bool"})
    .SetKernelFn(PD_KERNEL(ops::self_attention_op::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::self_attention_op::infer_gradients));
