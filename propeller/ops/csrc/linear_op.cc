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
  if (name == "gelu_new") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  refuse("linear: activation is '" + name + "', expected gelu, gelu_new or relu");
}

int64_t inputs_of(const Shape& weight, bool transposed) { return weight[transposed ? 1 : 0]; }

int64_t outputs_of(const Shape& weight, bool transposed) { return weight[transposed ? 0 : 1]; }

void check_shapes(const Shape& x, const Shape& weight, const Shape& bias, bool transposed) {
  if (x.empty() || weight.size() != 2 || !fits(x.back(), inputs_of(weight, transposed))) {
    refuse("linear: weight has shape " + text(weight) + ", expected " +
           (transposed ? "[outputs, inputs]" : "[inputs, outputs]") + " for x of shape " + text(x));
  }
  if (bias.size() != 1 || !fits(bias[0], outputs_of(weight, transposed))) {
    refuse("linear: bias has shape " + text(bias) + ", expected [outputs] for weight of shape " + text(weight));
  }
}

Shape output_shape(Shape x, const Shape& weight, bool transposed) {
  x.back() = outputs_of(weight, transposed);
  return x;
}

LinearShape shape_of(const Tensor& x, const Tensor& weight, bool transposed) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < x.shape().size(); ++i) rows *= x.shape()[i];
  return {rows, inputs_of(weight.shape(), transposed), outputs_of(weight.shape(), transposed), transposed};
}

void check_inputs(const Tensor& x, const Tensor& weight, const Tensor& bias, bool transposed) {
  require_float32(x, "linear", "x");
  require_float32(weight, "linear", "weight");
  require_float32(bias, "linear", "bias");
  check_shapes(x.shape(), weight.shape(), bias.shape(), transposed);
}

std::vector<Tensor> forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const std::string& precision,
                            bool, bool, bool transposed) {
  check_inputs(x, weight, bias, transposed);
  Tensor y = new_tensor(output_shape(x.shape(), weight.shape(), transposed));
  run("linear", [&] {
    linear_forward(shape_of(x, weight, transposed), Activation::kNone, precision_of(precision), x.data<float>(),
                   weight.data<float>(), bias.data<float>(), y.data<float>(), nullptr);
  });
  return {y};
}

std::vector<Tensor> forward_activation(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                       const std::string& precision, bool, bool, bool transposed,
                                       const std::string& activation) {
  check_inputs(x, weight, bias, transposed);
  const Shape shape = output_shape(x.shape(), weight.shape(), transposed);
  Tensor y = new_tensor(shape), slope = new_tensor(shape, type_of(precision_of(precision)));
  run("linear", [&] {
    linear_forward(shape_of(x, weight, transposed), activation_of(activation), precision_of(precision),
                   x.data<float>(), weight.data<float>(), bias.data<float>(), y.data<float>(), slope.data());
  });
  return {y, slope};
}

// A gradient that nobody wants is an empty tensor.
std::vector<Tensor> gradients(const Tensor& x, const Tensor& weight, const Tensor* slope, const Tensor& dy,
                              Activation activation, Precision precision, bool x_wanted, bool weight_wanted,
                              bool transposed) {
  check_like("linear", "the gradient", dy, output_shape(x.shape(), weight.shape(), transposed));
  Tensor dx = new_tensor(x_wanted ? x.shape() : Shape{0}), dweight = new_tensor(weight_wanted ? weight.shape() : Shape{0});
  Tensor dbias = new_tensor({dy.shape().back()});
  run("linear's gradient", [&] {
    linear_backward(shape_of(x, weight, transposed), activation, precision, x.data<float>(), weight.data<float>(),
                    slope ? slope->data() : nullptr, dy.data<float>(), x_wanted ? dx.data<float>() : nullptr,
                    weight_wanted ? dweight.data<float>() : nullptr, dbias.data<float>());
  });
  return {dx, dweight, dbias};
}

std::vector<Tensor> backward(const Tensor& x, const Tensor& weight, const Tensor& dy, const std::string& precision,
                             bool x_wanted, bool weight_wanted, bool transposed) {
  return gradients(x, weight, nullptr, dy, Activation::kNone, precision_of(precision), x_wanted, weight_wanted,
                   transposed);
}

std::vector<Tensor> backward_activation(const Tensor& x, const Tensor& weight, const Tensor& slope, const Tensor& dy,
                                        const std::string& precision, bool x_wanted, bool weight_wanted,
                                        bool transposed, const std::string& activation) {
  return gradients(x, weight, &slope, dy, activation_of(activation), precision_of(precision), x_wanted, weight_wanted,
                   transposed);
}

std::vector<Shape> infer_shape(const Shape& x, const Shape& weight, const Shape& bias, const std::string&, bool, bool,
                               bool transposed) {
  check_shapes(x, weight, bias, transposed);
  return {output_shape(x, weight, transposed)};
}

std::vector<Shape> infer_shape_activation(const Shape& x, const Shape& weight, const Shape& bias, const std::string&,
                                          bool, bool, bool transposed, const std::string&) {
  check_shapes(x, weight, bias, transposed);
  return {output_shape(x, weight, transposed), output_shape(x, weight, transposed)};
}

std::vector<Shape> infer_gradients(const Shape& x, const Shape& weight, const Shape&, const std::string&, bool, bool,
                                   bool transposed) {
  return {x, weight, {outputs_of(weight, transposed)}};
}

std::vector<Shape> infer_gradients_activation(const Shape& x, const Shape& weight, const Shape&, const Shape&,
                                              const std::string&, bool, bool, bool transposed, const std::string&) {
  return {x, weight, {outputs_of(weight, transposed)}};
}

std::vector<DataType> infer_type(const DataType&, const DataType&, const DataType&) { return {DataType::FLOAT32}; }

std::vector<DataType> infer_type_activation(const DataType&, const DataType&, const DataType&,
                                            const std::string& precision, bool, bool, bool, const std::string&) {
  return {DataType::FLOAT32, type_of(precision_of(precision))};
}

}  // namespace
}  // namespace ops

PD_BUILD_OP(propeller_linear)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out"})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "transposed: bool"})
    .SetKernelFn(PD_KERNEL(ops::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::infer_type));

PD_BUILD_GRAD_OP(propeller_linear)
    .Inputs({"X", "Weight", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "transposed: bool"})
    .SetKernelFn(PD_KERNEL(ops::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_gradients));

PD_BUILD_OP(propeller_linear_activation)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out", "Slope"})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "transposed: bool",
            "activation: std::string"})
    .SetKernelFn(PD_KERNEL(ops::forward_activation))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_shape_activation))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::infer_type_activation));

PD_BUILD_GRAD_OP(propeller_linear_activation)
    .Inputs({"X", "Weight", "Slope", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "transposed: bool",
            "activation: std::string"})
    .SetKernelFn(PD_KERNEL(ops::backward_activation))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::infer_gradients_activation));
