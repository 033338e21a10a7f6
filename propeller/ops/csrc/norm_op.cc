// Two operators of Paddle: `propeller_layer_norm` and `propeller_residual_norm`. See norm.h for the computation, norm.py
// for what users call.
#include "norm.h"
#include "norm_tensors.h"

namespace ops::norm_op {
namespace {

using paddle::DataType;
using paddle::Tensor;
using MaybeTensor = paddle::optional<Tensor>;

constexpr Dropout kNoDropout{0, 1.0f, 0, 0};

std::vector<Tensor> normalised(const std::string& op, const Tensor* x, const Tensor& residual, const Tensor& scale,
                               const Tensor& bias, float epsilon, const Dropout& dropout) {
  Tensor y = new_tensor(residual.shape()), stats = new_tensor(stats_shape(residual.shape()));
  run(op.c_str(), [&] {
    residual_norm_forward(norm_shape(residual.shape()), epsilon, dropout, x ? x->data<float>() : nullptr,
                          residual.data<float>(), scale.data<float>(), bias.data<float>(), y.data<float>(),
                          stats.data<float>());
  });
  return {y, stats};
}

// Of x (where there is one), residual, scale, bias. A gradient that nobody wants is an empty tensor.
std::vector<Tensor> gradients(const std::string& op, const Tensor* x, const Tensor& residual, const Tensor& scale,
                              const Tensor& stats, const Tensor& dy, const Dropout& dropout, bool x_wanted,
                              bool residual_wanted) {
  const Shape shape = residual.shape(), none{0};
  check_like(op, "the gradient", dy, shape);
  Tensor dx = new_tensor(x_wanted ? shape : none), dresidual = new_tensor(residual_wanted ? shape : none);
  Tensor dscale = new_tensor(scale.shape()), dbias = new_tensor(scale.shape());
  run((op + "'s gradient").c_str(), [&] {
    residual_norm_backward(norm_shape(shape), dropout, x ? x->data<float>() : nullptr, residual.data<float>(),
                           scale.data<float>(), stats.data<float>(), dy.data<float>(),
                           x_wanted ? dx.data<float>() : nullptr, residual_wanted ? dresidual.data<float>() : nullptr,
                           dscale.data<float>(), dbias.data<float>());
  });
  if (x == nullptr) return {dresidual, dscale, dbias};
  return {dx, dresidual, dscale, dbias};
}

std::vector<Tensor> layer_norm(const Tensor& x, const Tensor& scale, const Tensor& bias, float epsilon, bool) {
  check_norm("layer_norm", "x", x, scale, bias);
  return normalised("layer_norm", nullptr, x, scale, bias, epsilon, kNoDropout);
}

std::vector<Tensor> layer_norm_gradient(const Tensor& x, const Tensor& scale, const Tensor& stats, const Tensor& dy,
                                        float, bool wanted) {
  return gradients("layer_norm", nullptr, x, scale, stats, dy, kNoDropout, false, wanted);
}

std::vector<Tensor> residual_norm(const Tensor& x, const Tensor& residual, const Tensor& scale, const Tensor& bias,
                                  const MaybeTensor& seed, float epsilon, float dropout, int64_t site, bool, bool) {
  const std::string op = "residual_norm";
  check_norm(op, "residual", residual, scale, bias);
  check_like(op, "x", x, residual.shape());
  return normalised(op, &x, residual, scale, bias, epsilon, dropout_from(op, dropout, seed, site));
}

std::vector<Tensor> residual_norm_gradient(const Tensor& x, const Tensor& residual, const Tensor& scale,
                                           const Tensor& stats, const MaybeTensor& seed, const Tensor& dy, float,
                                           float dropout, int64_t site, bool x_wanted, bool residual_wanted) {
  const std::string op = "residual_norm";
  return gradients(op, &x, residual, scale, stats, dy, dropout_from(op, dropout, seed, site), x_wanted,
                   residual_wanted);
}

std::vector<Shape> layer_norm_shapes(const Shape& x, const Shape&, const Shape&) { return {x, stats_shape(x)}; }

std::vector<Shape> layer_norm_gradient_shapes(const Shape& x, const Shape& scale, const Shape&, const Shape&) {
  return {x, scale, scale};
}

std::vector<DataType> layer_norm_types(const DataType&, const DataType&, const DataType&) {
  return {DataType::FLOAT32, DataType::FLOAT32};
}

std::vector<Shape> residual_norm_shapes(const Shape&, const Shape& residual, const Shape&, const Shape&,
                                        const paddle::optional<Shape>&) {
  return {residual, stats_shape(residual)};
}

std::vector<Shape> residual_norm_gradient_shapes(const Shape& x, const Shape& residual, const Shape& scale,
                                                 const Shape&, const paddle::optional<Shape>&, const Shape&) {
  return {x, residual, scale, scale};
}

std::vector<DataType> residual_norm_types(const DataType&, const DataType&, const DataType&, const DataType&,
                                          const paddle::optional<DataType>&) {
  return {DataType::FLOAT32, DataType::FLOAT32};
}

}  // namespace
}  // namespace ops::norm_op

PD_BUILD_OP(propeller_layer_norm)
    .Inputs({"X", "Scale", "Bias"})
    .Outputs({"Out", "Stats"})
    .Attrs({"epsilon: float", "wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::norm_op::layer_norm))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::norm_op::layer_norm_shapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::norm_op::layer_norm_types));

PD_BUILD_GRAD_OP(propeller_layer_norm)
    .Inputs({"X", "Scale", "Stats", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Scale"), paddle::Grad("Bias")})
    .Attrs({"epsilon: float", "wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::norm_op::layer_norm_gradient))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::norm_op::layer_norm_gradient_shapes));

PD_BUILD_OP(propeller_residual_norm)
    .Inputs({"X", "Residual", "Scale", "Bias", paddle::Optional("Seed")})
    .Outputs({"Out", "Stats"})
    .Attrs({"epsilon: float", "dropout: float", "site: int64_t", "x_wanted: bool", "residual_wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::norm_op::residual_norm))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::norm_op::residual_norm_shapes))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::norm_op::residual_norm_types));

PD_BUILD_GRAD_OP(propeller_residual_norm)
    .Inputs({"X", "Residual", "Scale", "Stats", paddle::Optional("Seed"), paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Residual"), paddle::Grad("Scale"), paddle::Grad("Bias")})
    .Attrs({"epsilon: float", "dropout: float", "site: int64_t", "x_wanted: bool", "residual_wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::norm_op::residual_norm_gradient))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::norm_op::residual_norm_gradient_shapes));
