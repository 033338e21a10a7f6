// An operator of Paddle, `propeller_cross_entropy`. See cross_entropy.h for the computation, cross_entropy.py for what
// users call.
#include "cross_entropy.h"
#include "tensors.h"

namespace ops::cross_entropy_op {
namespace {

using paddle::DataType;
using paddle::Tensor;

Shape rows_of(Shape logits) {
  logits.pop_back();
  return logits;
}

void check_shapes(const Shape& logits, const Shape& label) {
  const std::string name = "softmax_cross_entropy: ";
  if (logits.empty()) refuse(name + "logits have shape [], expected [..., classes]");
  const Shape expected = rows_of(logits);
  bool same = label.size() == expected.size();
  for (size_t i = 0; same && i < label.size(); ++i) same = fits(label[i], expected[i]);
  if (!same) {
    refuse(name + "label has shape " + text(label) + ", expected " + text(expected) + " for logits of shape " +
           text(logits));
  }
}

Scores scores_of(const Tensor& logits, const Tensor& label, int64_t ignore_index) {
  const int64_t columns = logits.shape().back();
  return {label.numel(), columns, logits.numel() ? logits.data<float>() : nullptr,
          label.numel() ? label.data<int64_t>() : nullptr, ignore_index};
}

std::vector<Tensor> forward(const Tensor& logits, const Tensor& label, int64_t ignore_index) {
  require_float32(logits, "softmax_cross_entropy", "logits");
  require_int64(label, "softmax_cross_entropy", "label");
  check_shapes(logits.shape(), label.shape());
  const Scores scores = scores_of(logits, label, ignore_index);
  const int64_t wrong = wrong_label(scores);
  if (wrong >= 0) {
    refuse("softmax_cross_entropy: label " + std::to_string(wrong) + " is " + std::to_string(scores.labels[wrong]) +
           ", expected 0 to " + std::to_string(scores.columns - 1) + " or " + std::to_string(ignore_index) +
           " for logits of shape " + text(logits.shape()));
  }
  const Shape shape = label.shape();
  Tensor loss = new_tensor(shape), log_sum = new_tensor(shape), best = new_tensor(shape, DataType::INT64);
  run("softmax_cross_entropy",
      [&] { cross_entropy(scores, loss.data<float>(), log_sum.data<float>(), best.data<int64_t>()); });
  return {loss, log_sum, best};
}

std::vector<Tensor> backward(const Tensor& logits, const Tensor& label, const Tensor& log_sum, const Tensor& dloss,
                             int64_t ignore_index) {
  check_like("softmax_cross_entropy", "the gradient", dloss, label.shape());
  Tensor dlogits = new_tensor(logits.shape());
  run("softmax_cross_entropy's gradient", [&] {
    cross_entropy_gradient(scores_of(logits, label, ignore_index), log_sum.data<float>(), dloss.data<float>(),
                           dlogits.data<float>());
  });
  return {dlogits};
}

std::vector<Shape> infer_shape(const Shape& logits, const Shape& label) {
  check_shapes(logits, label);
  return {label, label, label};
}

std::vector<DataType> infer_type(const DataType&, const DataType&) {
  return {DataType::FLOAT32, DataType::FLOAT32, DataType::INT64};
}

std::vector<Shape> infer_gradient(const Shape& logits, const Shape&, const Shape&, const Shape&) { return {logits}; }

}  // namespace
}  // namespace ops::cross_entropy_op

PD_BUILD_OP(propeller_cross_entropy)
    .Inputs({"Logits", "Label"})
    .Outputs({"Loss", "LogSum", "Best"})
    .Attrs({"ignore_index: int64_t"})
    .SetKernelFn(PD_KERNEL(ops::cross_entropy_op::forward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::cross_entropy_op::infer_shape))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::cross_entropy_op::infer_type));

PD_BUILD_GRAD_OP(propeller_cross_entropy)
    .Inputs({"Logits", "Label", "LogSum", paddle::Grad("Loss")})
    .Outputs({paddle::Grad("Logits")})
    .Attrs({"ignore_index: int64_t"})
    .SetKernelFn(PD_KERNEL(ops::cross_entropy_op::backward))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::cross_entropy_op::infer_gradient));
