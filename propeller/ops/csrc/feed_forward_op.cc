// Paddle's operator `propeller_feed_forward`. See feed_forward.h for the computation, sublayers.py for what users call.
#include "feed_forward.h"

#include "activation_tensors.h"
#include "norm_tensors.h"

namespace ops::feed_forward_op {
namespace {

using paddle::DataType;
using paddle::Tensor;
using MaybeTensor = paddle::optional<Tensor>;

const std::string kName = "feed_forward";

int64_t rows_of(const Shape& x) { return norm_shape(x).rows; }

std::vector<Tensor> forward(const Tensor& x, const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                            const Tensor& bias2, const Tensor& scale, const Tensor& bias, const MaybeTensor& seed,
                            const std::string& activation, const std::string& precision, float epsilon, float dropout,
                            int64_t site, bool, bool kept) {
  check_norm(kName, "x", x, scale, bias);
  const int64_t rows = rows_of(x.shape()), width = x.shape().back();
  require_float32(bias1, kName, "bias1");
  const int64_t inner = bias1.numel();
  check_like(kName, "weight1", weight1, {width, inner});
  check_like(kName, "bias1", bias1, {inner});
  check_like(kName, "weight2", weight2, {inner, width});
  check_like(kName, "bias2", bias2, {width});
  const Precision products = precision_of(precision);
  const auto keep = [&](const Shape& shape, DataType type) { return new_tensor(kept ? shape : Shape{0}, type); };
  Tensor y = new_tensor(x.shape()), stats = new_tensor(stats_shape(x.shape()));
  Tensor inputs = keep({width, depth_of(rows)}, type_of(products));
  Tensor activations = keep({inner, depth_of(rows)}, type_of(products));
  Tensor slopes = keep({rows, inner}, type_of(products)), sum = keep(x.shape(), DataType::FLOAT32);
  run(kName.c_str(), [&] {
    const FeedForward layer{rows, width, inner, activation_of(kName, activation), products,
                            dropout_from(kName, dropout, seed, site), epsilon, weight1.data<float>(),
                            bias1.data<float>(), weight2.data<float>(), bias2.data<float>(), scale.data<float>(),
                            bias.data<float>()};
    FeedForwardKept<void*, float*> places{nullptr, nullptr, nullptr, y.data<float>(), stats.data<float>()};
    if (kept) places = {inputs.data(), activations.data(), slopes.data(), sum.data<float>(), stats.data<float>()};
    feed_forward(layer, x.data<float>(), places, y.data<float>());
  });
  return {y, inputs, activations, slopes, sum, stats};
}

// A gradient that nobody wants is an empty tensor.
std::vector<Tensor> backward(const Tensor& weight1, const Tensor& weight2, const Tensor& scale, const MaybeTensor& seed,
                             const Tensor& inputs, const Tensor& activations, const Tensor& slopes, const Tensor& sum,
                             const Tensor& stats, const Tensor& dy, const std::string& activation,
                             const std::string& precision, float epsilon, float dropout, int64_t site, bool x_wanted,
                             bool kept) {
  if (!kept) refuse(kName + ": has no gradients where nothing was kept for them");
  check_like(kName, "the gradient", dy, sum.shape());
  const int64_t width = weight1.shape()[0], inner = weight1.shape()[1];
  Tensor dx = new_tensor(x_wanted ? sum.shape() : Shape{0});
  Tensor dweight1 = new_tensor({width, inner}), dbias1 = new_tensor({inner});
  Tensor dweight2 = new_tensor({inner, width}), dbias2 = new_tensor({width});
  Tensor dscale = new_tensor({width}), dbias = new_tensor({width});
  run("feed_forward's gradient", [&] {
    const FeedForward layer{rows_of(sum.shape()), width, inner, activation_of(kName, activation), precision_of(precision),
                            dropout_from(kName, dropout, seed, site), epsilon, weight1.data<float>(), nullptr,
                            weight2.data<float>(), nullptr, scale.data<float>(), nullptr};
    feed_forward_gradients(
        layer, {inputs.data(), activations.data(), slopes.data(), sum.data<float>(), stats.data<float>()},
        dy.data<float>(),
        {x_wanted ? dx.data<float>() : nullptr, dweight1.data<float>(), dbias1.data<float>(), dweight2.data<float>(),
         dbias2.data<float>(), dscale.data<float>(), dbias.data<float>()});
  });
  return {dx, dweight1, dbias1, dweight2, dbias2, dscale, dbias};
}

std::vector<Shape> infer_shapes(const Shape& x, const Shape& weight1, const Shape&, const Shape&, const Shape&,
                                const Shape&, const Shape&, const paddle::optional<Shape>&) {
  const int64_t width = weight1[0], inner = weight1[1];
  return {x, {width, -1}, {inner, -1}, {-1, inner}, x, stats_shape(x)};
}

std::vector<Shape> infer_gradients(const Shape& weight1, const Shape& weight2, const Shape& scale,
                                   const paddle::optional<Shape>&, const Shape&, const Shape&, const Shape&,
                                   const Shape& sum, const Shape&, const Shape&) {
  return {sum, weight1, {weight1[1]}, weight2, scale, scale, scale};
}

std::vector<DataType> infer_types(const DataType&, const DataType&, const DataType&, const DataType&, const DataType&,
                                  const DataType&, const DataType&, const paddle::optional<DataType>&,
                                  const std::string&, const std::string& precision, float, float, int64_t, bool, bool) {
  const DataType products = type_of(precision_of(precision));
  return {DataType::FLOAT32, products, products, products, DataType::FLOAT32, DataType::FLOAT32};
}

}  // namespace
}  // namespace ops::feed_forward_op

PD_BUILD_OP(propeller_feed_forward)
    .Inputs({"X", "Weight1", "Bias1", "Weight2", "Bias2", "Scale", "Bias", paddle::Optional("Seed")})
    .Outputs({"Out", "Inputs", "Activations", "Slopes", "Sum", "Stats"})
    .Attrs({"activation: std::string", "precision: std::string", "epsilon: float", "dropout: float", "site: int64_t",
            "x_wanted: bool", "kept: bool"})
    .SetKernelFn(PD_KERNEL(ops::feed_forward_op::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::feed_forward_op::infer_shapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::feed_forward_op::infer_types));

PD_BUILD_GRAD_OP(propeller_feed_forward)
    .Inputs({"Weight1", "Weight2", "Scale", paddle::Optional("Seed"), "Inputs", "Activations", "Slopes", "Sum", "Stats",
             paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight1"), paddle::Grad("Bias1"), paddle::Grad("Weight2"),
              paddle::Grad("Bias2"), paddle::Grad("Scale"), paddle::Grad("Bias")})
    .Attrs({"activation: std::string", "precision: std::string", "epsilon: float", "dropout: float", "site: int64_t",
            "x_wanted: bool", "kept: bool"})
    .SetKernelFn(PD_KERNEL(ops::feed_forward_op::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::feed_forward_op::infer_gradients));
