// Two operators of Paddle: `propeller_linear`, and `propeller_linear_activation`, which also keeps the slope of the
// activation for its gradient. See linear.h for the computation, linear.py for what users call.
#include "linear.h"
#include "tensors.h"

namespace ops {
namespace {

using paddle::DataType;
using paddle::Tensor;

Activation activation_of(const std::string& name) {
  if (name == "gelu") return Activation::kGelu;
  if (name == "relu") return Activation::kRelu;
  refuse("linear: activation is '" + name + "', expected gelu or relu");
}

void check_shapes(const Shape& x, const Shape& weight, const Shape& bias) {
  if (x.empty() || weight.size() != 2 || !fits(x.back(), weight[0])) {
    refuse("linear: weight has shape " + text(weight) + ", expected [inputs, outputs] for x of shape " + text(x));
  }
  if (bias.size() != 1 || !fits(bias[0], weight[1])) {
    refuse("linear: bias has shape " + text(bias) + ", expected [outputs] for weight of shape " + text(weight));
  }
}

Shape output_shape(Shape x, const Shape& weight) {
  x.back() = weight[1];
  return x;
}

LinearShape shape_of(const Tensor& x, const Tensor& weight) {
  const int64_t inputs = weight.shape()[0], outputs = weight.shape()[1];
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < x.shape().size(); ++i) rows *= x.shape()[i];
  return {rows, inputs, outputs};
}

void check_inputs(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  require_float32(x, "linear", "x");
  require_float32(weight, "linear", "weight");
  require_float32(bias, "linear", "bias");
  check_shapes(x.shape(), weight.shape(), bias.shape());
}

std::vector<Tensor> forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const std::string& precision,
                            bool, bool) {
  check_inputs(x, weight, bias);
  Tensor y = new_tensor(output_shape(x.shape(), weight.shape()));
  run("linear", [&] {
    linear_forward(shape_of(x, weight), Activation::kNone, precision_of(precision), x.data<float>(),
                   weight.data<float>(), bias.data<float>(), y.data<float>(), nullptr);
  });
  return {y};
}

std::vector<Tensor> forward_activation(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                       const std::string& precision, bool, bool, const std::string& activation) {
  check_inputs(x, weight, bias);
  const Shape shape = output_shape(x.shape(), weight.shape());
  Tensor y = new_tensor(shape), slope = new_tensor(shape, type_of(precision_of(precision)));
  run("linear", [&] {
    linear_forward(shape_of(x, weight), activation_of(activation), precision_of(precision), x.data<float>(),
                   weight.data<float>(), bias.data<float>(), y.data<float>(), slope.data());
  });
  return {y, slope};
}

// A gradient that nobody wants is an empty tensor.
std::vector<Tensor> gradients(const Tensor& x, const Tensor& weight, const Tensor* slope, const Tensor& dy,
                              Activation activation, Precision precision, bool x_wanted, bool weight_wanted) {
  require_float32(dy, "linear", "the gradient");
  const Shape expected = output_shape(x.shape(), weight.shape());
  if (dy.shape() != expected) {
    refuse("linear: the gradient has shape " + text(dy.shape()) + ", expected " + text(expected));
  }
  Tensor dx = new_tensor(x_wanted ? x.shape() : Shape{0}), dweight = new_tensor(weight_wanted ? weight.shape() : Shape{0});
  Tensor dbias = new_tensor({weight.shape()[1]});
  run("linear's gradient", [&] {
    linear_backward(shape_of(x, weight), activation, precision, x.data<float>(), weight.data<float>(),
                    slope ? slope->data() : nullptr, dy.data<float>(), x_wanted ? dx.data<float>() : nullptr,
                    weight_wanted ? dweight.data<float>() : nullptr, dbias.data<float>());
  });
  return {dx, dweight, dbias};
}

std::vector<Tensor> backward(const Tensor& x, const Tensor& weight, const Tensor& dy, const std::string& precision,
                             bool x_wanted, bool weight_wanted) {
  return gradients(x, weight, nullptr, dy, Activation::kNone, precision_of(precision), x_wanted, weight_wanted);
}

std::vector<Tensor> backward_activation(const Tensor& x, const Tensor& weight, const Tensor& slope, const Tensor& dy,
                                        const std::string& precision, bool x_wanted, bool weight_wanted,
                                        const std::string& activation) {
  return gradients(x, weight, &slope, dy, activation_of(activation), precision_of(precision), x_wanted, weight_wanted);
}

std::vector<Shape> infer_shape(const Shape& x, const Shape& weight, const Shape& bias) {
  check_shapes(x, weight, bias);
  return {output_shape(x, weight)};
}

std::vector<Shape> infer_shape_activation(const Shape& x, const Shape& weight, const Shape& bias) {
  check_shapes(x, weight, bias);
  return {output_shape(x, weight), output_shape(x, weight)};
}

std::vector<Shape> infer_gradients(const Shape& x, const Shape& weight, const Shape&) {
  return {x, weight, {weight[1]}};
}

std::vector<Shape> infer_gradients_activation(const Shape& x, const Shape& weight, const Shape&, const Shape&) {
  return {x, weight, {weight[1]}};
}

std::vector<DataType> infer_type(const DataType&, const DataType&, const DataType&) { return {DataType::FLOAT32}; }

std::vector<DataType> infer_type_activation(const DataType&, const DataType&, const DataType&,
                                            const std::string& precision, bool, bool, const std::string&) {
  return {DataType::FLOAT32, type_of(precision_of(precision))};
}

}  // namespace
}  // namespace ops

PD_BUILD_OP(propeller_linear)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out"})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::infer_type));

PD_BUILD_GRAD_OP(propeller_linear)
    .Inputs({"X", "Weight", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_gradients));

PD_BUILD_OP(propeller_linear_activation)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out", "Slope"})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "activation: std::string"})
    .SetKernelFn(PD_KERNEL(ops::forward_activation))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_shape_activation))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::infer_type_activation));

PD_BUILD_GRAD_OP(propeller_linear_activation)
    .Inputs({"X", "Weight", "Slope", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "activation: std::string"})
    .SetKernelFn(PD_KERNEL(ops::backward_activation))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_gradients_activation));
