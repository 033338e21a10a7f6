// Paddle's operator `propeller_attention`. See attention.h for the computation, attention.py for what users call.
#include "attention_tensors.h"

namespace ops::attention_op {
namespace {

using paddle::DataType;
using paddle::Tensor;

void check_shapes(const Shape& qkv, const Shape& starts, int64_t heads) {
  const int64_t width = heads < 1 || qkv.empty() || qkv.back() < 0 ? 0 : qkv.back() % (3 * heads);
  if (heads < 1 || qkv.size() != 2 || width != 0) {
    refuse("attention: qkv has shape " + text(qkv) + ", expected [tokens, 3 x hidden] with hidden in " +
           std::to_string(heads) + " heads");
  }
  check_starts("attention", "qkv", qkv, starts);
}

AttentionShape shape_of(const Tensor& qkv, const Tensor& starts, int64_t heads) {
  require_float32(qkv, "attention", "qkv");
  check_shapes(qkv.shape(), starts.shape(), heads);
  return attention_shape("attention", "qkv", qkv.shape(), 3, starts, heads);
}

std::vector<Tensor> forward(const Tensor& qkv, const Tensor& starts, const paddle::optional<Tensor>& seed,
                            int64_t heads, float dropout, int64_t site, const std::string& precision) {
  const AttentionShape shape = shape_of(qkv, starts, heads);
  const Dropout drop = dropout_from("attention", dropout, seed, site);
  Tensor y = new_tensor({shape.tokens, shape.hidden}), terms = new_tensor({2, heads, shape.tokens});
  run("attention", [&] {
    attention_forward(shape, precision_of(precision), drop, qkv.data<float>(), y.data<float>(), terms.data<float>());
  });
  return {y, terms};
}

std::vector<Tensor> backward(const Tensor& qkv, const Tensor& starts, const paddle::optional<Tensor>& seed,
                             const Tensor& terms, const Tensor& dy, int64_t heads, float dropout, int64_t site,
                             const std::string& precision) {
  const AttentionShape shape = shape_of(qkv, starts, heads);
  const Dropout drop = dropout_from("attention", dropout, seed, site);
  check_like("attention", "the gradient", dy, {shape.tokens, shape.hidden});
  Tensor dqkv = new_tensor(qkv.shape());
  run("attention's gradient", [&] {
    attention_backward(shape, precision_of(precision), drop, qkv.data<float>(), terms.data<float>(), dy.data<float>(),
                       dqkv.data<float>());
  });
  return {dqkv};
}

std::vector<Shape> infer_shape(const Shape& qkv, const Shape& starts, const paddle::optional<Shape>&, int64_t heads,
                               float, int64_t, const std::string&) {
  check_shapes(qkv, starts, heads);
  return {{qkv[0], qkv[1] < 0 ? -1 : qkv[1] / 3}, {2, heads, qkv[0]}};
}

std::vector<Shape> infer_gradient(const Shape& qkv, const Shape&, const paddle::optional<Shape>&, const Shape&,
                                  const Shape&) {
  return {qkv};
}

std::vector<DataType> infer_type(const DataType&, const DataType&, const paddle::optional<DataType>&) {
  return {DataType::FLOAT32, DataType::FLOAT32};
}

}  // namespace
}  // namespace ops::attention_op

PD_BUILD_OP(propeller_attention)
    .Inputs({"QKV", "Starts", paddle::Optional("Seed")})
    .Outputs({"Out", "Terms"})
    .Attrs({"heads: int64_t", "dropout: float", "site: int64_t", "precision: std::string"})
    .SetKernelFn(PD_KERNEL(ops::attention_op::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::attention_op::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::attention_op::infer_type));

PD_BUILD_GRAD_OP(propeller_attention)
    .Inputs({"QKV", "Starts", paddle::Optional("Seed"), "Terms", paddle::Grad("Out")})
    .Outputs({paddle::Grad("QKV")})
    .Attrs({"heads: int64_t", "dropout: float", "site: int64_t", "precision: std::string"})
    .SetKernelFn(PD_KERNEL(ops::attention_op::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::attention_op::infer_gradient));
