// Three operators of Paddle: `propeller_linear`; `propeller_linear_activation`, which also keeps the slope of the activation
// for its gradient; and `propeller_linear_3`, three layers of one input, whose results stand side by side. See linear.h for
// the computation, linear.py for what users call.
#include "activation_tensors.h"
#include "linear.h"

namespace ops::linear_op {
namespace {

using paddle::DataType;
using paddle::Tensor;

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
                   {weight.data<float>()}, {bias.data<float>()}, y.data<float>(), nullptr);
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
    linear_forward(shape_of(x, weight, transposed), activation_of("linear", activation), precision_of(precision),
                   x.data<float>(), {weight.data<float>()}, {bias.data<float>()}, y.data<float>(), slope.data());
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
    std::vector<float*> dweights;
    if (weight_wanted) dweights.push_back(dweight.data<float>());
    linear_backward(shape_of(x, weight, transposed), activation, precision, x.data<float>(), {weight.data<float>()},
                    slope ? slope->data() : nullptr, dy.data<float>(), x_wanted ? dx.data<float>() : nullptr,
                    dweights, {dbias.data<float>()});
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
  return gradients(x, weight, &slope, dy, activation_of("linear", activation), precision_of(precision), x_wanted,
                   weight_wanted, transposed);
}

// ---------------------------------------------------------------- three layers of one input

Shape side_by_side(const Shape& x, const std::vector<Shape>& weights, const std::vector<Shape>& biases) {
  for (size_t p = 0; p < weights.size(); ++p) {
    check_shapes(x, weights[p], biases[p], false);
    if (weights[p].size() != 2 || !fits(weights[p][1], weights[0][1])) {
      refuse("linear: weight " + std::to_string(p) + " has shape " + text(weights[p]) + ", expected " +
             text(weights[0]) + ", that of weight 0");
    }
  }
  Shape shape = x;
  shape.back() = weights[0][1] < 0 ? -1 : static_cast<int64_t>(weights.size()) * weights[0][1];
  return shape;
}

using Three = std::vector<const Tensor*>;

std::vector<Shape> shapes_of(const Three& tensors) {
  std::vector<Shape> shapes;
  for (const Tensor* tensor : tensors) shapes.push_back(tensor->shape());
  return shapes;
}

std::vector<const float*> data_of(const Three& tensors, const std::string& name) {
  std::vector<const float*> data;
  for (const Tensor* tensor : tensors) {
    require_float32(*tensor, "linear", name + " " + std::to_string(data.size()));
    data.push_back(tensor->data<float>());
  }
  return data;
}

std::vector<Tensor> forward_3(const Tensor& x, const Tensor& weight0, const Tensor& weight1, const Tensor& weight2,
                              const Tensor& bias0, const Tensor& bias1, const Tensor& bias2,
                              const std::string& precision, bool, bool) {
  const Three weights{&weight0, &weight1, &weight2}, biases{&bias0, &bias1, &bias2};
  require_float32(x, "linear", "x");
  const Shape shape = side_by_side(x.shape(), shapes_of(weights), shapes_of(biases));
  const auto matrices = data_of(weights, "weight"), vectors = data_of(biases, "bias");
  Tensor y = new_tensor(shape);
  run("linear", [&] {
    linear_forward({shape_of(x, weight0, false).rows, weight0.shape()[0], shape.back(), false}, Activation::kNone,
                   precision_of(precision), x.data<float>(), matrices, vectors, y.data<float>(), nullptr);
  });
  return {y};
}

std::vector<Tensor> backward_3(const Tensor& x, const Tensor& weight0, const Tensor& weight1, const Tensor& weight2,
                               const Tensor& dy, const std::string& precision, bool x_wanted, bool weights_wanted) {
  const Three weights{&weight0, &weight1, &weight2};
  const int64_t each = weight0.shape()[1];
  Shape shape = x.shape();
  shape.back() = 3 * each;
  check_like("linear", "the gradient", dy, shape);
  std::vector<Tensor> gradients{new_tensor(x_wanted ? x.shape() : Shape{0})};
  for (const Tensor* weight : weights) gradients.push_back(new_tensor(weights_wanted ? weight->shape() : Shape{0}));
  for (size_t p = 0; p < weights.size(); ++p) gradients.push_back(new_tensor({each}));
  run("linear's gradient", [&] {
    std::vector<float*> dweights, dbiases;
    for (size_t p = 0; p < weights.size(); ++p) {
      if (weights_wanted) dweights.push_back(gradients[1 + p].data<float>());
      dbiases.push_back(gradients[1 + weights.size() + p].data<float>());
    }
    linear_backward({shape_of(x, weight0, false).rows, weight0.shape()[0], shape.back(), false}, Activation::kNone,
                    precision_of(precision), x.data<float>(), data_of(weights, "weight"), nullptr, dy.data<float>(),
                    x_wanted ? gradients[0].data<float>() : nullptr, dweights, dbiases);
  });
  return gradients;
}

std::vector<Shape> infer_shape_3(const Shape& x, const Shape& weight0, const Shape& weight1, const Shape& weight2,
                                 const Shape& bias0, const Shape& bias1, const Shape& bias2) {
  return {side_by_side(x, {weight0, weight1, weight2}, {bias0, bias1, bias2})};
}

std::vector<Shape> infer_gradients_3(const Shape& x, const Shape& weight0, const Shape& weight1, const Shape& weight2,
                                     const Shape&) {
  const Shape bias{weight0[1]};
  return {x, weight0, weight1, weight2, bias, bias, bias};
}

std::vector<DataType> infer_type_3(const DataType&, const DataType&, const DataType&, const DataType&, const DataType&,
                                   const DataType&, const DataType&) {
  return {DataType::FLOAT32};
}

// ---------------------------------------------------------------- shapes and types

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
}  // namespace ops::linear_op

PD_BUILD_OP(propeller_linear)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out"})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "transposed: bool"})
    .SetKernelFn(PD_KERNEL(ops::linear_op::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::linear_op::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::linear_op::infer_type));

PD_BUILD_GRAD_OP(propeller_linear)
    .Inputs({"X", "Weight", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "transposed: bool"})
    .SetKernelFn(PD_KERNEL(ops::linear_op::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::linear_op::infer_gradients));

PD_BUILD_OP(propeller_linear_activation)
    .Inputs({"X", "Weight", "Bias"})
    .Outputs({"Out", "Slope"})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "transposed: bool",
            "activation: std::string"})
    .SetKernelFn(PD_KERNEL(ops::linear_op::forward_activation))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::linear_op::infer_shape_activation))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::linear_op::infer_type_activation));

PD_BUILD_GRAD_OP(propeller_linear_activation)
    .Inputs({"X", "Weight", "Slope", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight"), paddle::Grad("Bias")})
    .Attrs({"precision: std::string", "x_wanted: bool", "weight_wanted: bool", "transposed: bool",
            "activation: std::string"})
    .SetKernelFn(PD_KERNEL(ops::linear_op::backward_activation))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::linear_op::infer_gradients_activation));

PD_BUILD_OP(propeller_linear_3)
    .Inputs({"X", "Weight0", "Weight1", "Weight2", "Bias0", "Bias1", "Bias2"})
    .Outputs({"Out"})
    .Attrs({"precision: std::string", "x_wanted: bool", "weights_wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::linear_op::forward_3))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::linear_op::infer_shape_3))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::linear_op::infer_type_3));

PD_BUILD_GRAD_OP(propeller_linear_3)
    .Inputs({"X", "Weight0", "Weight1", "Weight2", paddle::Grad("Out")})
    .Outputs({paddle::Grad("X"), paddle::Grad("Weight0"), paddle::Grad("Weight1"), paddle::Grad("Weight2"),
              paddle::Grad("Bias0"), paddle::Grad("Bias1"), paddle::Grad("Bias2")})
    .Attrs({"precision: std::string", "x_wanted: bool", "weights_wanted: bool"})
    .SetKernelFn(PD_KERNEL(ops::linear_op::backward_3))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::linear_op::infer_gradients_3));
