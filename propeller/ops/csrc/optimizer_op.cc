// Two operators of Paddle: `propeller_square_norm` and `propeller_adamw`, which changes parameters and state in place.
// See optimizer.h for the computation, optimizer.py for what users call.
#include <algorithm>

#include "optimizer.h"
#include "process_segment.h"
#include "share.h"
#include "shared_weights.h"
#include "tensors.h"

namespace ops::optimizer_op {
namespace {

using paddle::DataType;
using paddle::Tensor;
using Tensors = std::vector<Tensor>;

// Null where there are none.
const float* numbers(const Tensor& tensor) { return tensor.numel() ? tensor.data<float>() : nullptr; }
float* numbers(Tensor& tensor) { return tensor.numel() ? tensor.data<float>() : nullptr; }

void require_list(const Tensors& tensors, const Tensors& parameters, const std::string& name, bool scalars = false) {
  if (tensors.size() != parameters.size()) {
    refuse("adamw: found " + std::to_string(tensors.size()) + " " + name + ", expected " +
           std::to_string(parameters.size()));
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    check_like("adamw", name + " " + std::to_string(i), tensors[i], scalars ? Shape{1} : parameters[i].shape());
  }
}

void require_one(const Tensor& tensor, DataType type, const std::string& name) {
  if (tensor.numel() != 1 || tensor.dtype() != type) {
    refuse("adamw: " + name + " of shape " + text(tensor.shape()) + " is " + phi::DataTypeToString(tensor.dtype()) +
           ", expected one " + phi::DataTypeToString(type));
  }
}

std::vector<Tensor> square_norm(const Tensors& gradients) {
  std::vector<Gradient> parts;
  for (size_t i = 0; i < gradients.size(); ++i) {
    require_float32(gradients[i], "square_norm", "gradient " + std::to_string(i));
    if (gradients[i].numel()) parts.push_back({numbers(gradients[i]), gradients[i].numel()});
  }
  Tensor result = new_tensor({1});
  run("square_norm", [&] { *result.data<float>() = static_cast<float>(sum_of_squares(parts)); });
  return {result};
}

// Parameters of which each process updates whole rows.
std::vector<Parameter> matrices(const Tensors& parameters, const Share& own) {
  std::vector<Parameter> found;
  for (const Tensor& parameter : parameters) {
    const Shape shape = parameter.shape();
    const bool by_rows = own.unit(shape) > 1;
    found.push_back({numbers(parameter), by_rows ? shape[0] : 0, by_rows ? shape[1] : 0});
  }
  return found;
}

void update(Tensors& parameters, const Tensors& gradients, Tensors& moment1, Tensors& moment2, Tensors& beta1_power,
            Tensors& beta2_power, const Tensor& learning_rate, const Tensor& factor, const Tensor& skip,
            const std::vector<float>& rates, const std::vector<float>& decays, float beta1, float beta2,
            float epsilon, int64_t file, int64_t rank, int64_t processes) {
  require_list(parameters, parameters, "parameters");
  require_list(gradients, parameters, "gradients");
  require_list(moment1, parameters, "first moments");
  require_list(moment2, parameters, "second moments");
  require_list(beta1_power, parameters, "powers of beta1", true);
  require_list(beta2_power, parameters, "powers of beta2", true);
  require_one(learning_rate, DataType::FLOAT32, "the learning rate");
  require_one(factor, DataType::FLOAT32, "the factor");
  require_one(skip, DataType::BOOL, "the skip flag");
  if (rates.size() != parameters.size() || decays.size() != parameters.size()) {
    refuse("adamw: found " + std::to_string(rates.size()) + " rates and " + std::to_string(decays.size()) +
           " decays, expected " + std::to_string(parameters.size()));
  }
  if (*skip.data<bool>()) return;
  run("adamw", [&] {
    const Share own{rank, processes};
    std::vector<Trained> trained;
    for (size_t i = 0; i < parameters.size(); ++i) {
      const int64_t size = parameters[i].numel(), unit = own.unit(parameters[i].shape()), first = own.begin(size, unit);
      trained.push_back({own.count(size, unit), numbers(parameters[i]) + first, numbers(gradients[i]) + first,
                         numbers(moment1[i]) + first, numbers(moment2[i]) + first, numbers(beta1_power[i]),
                         numbers(beta2_power[i]), rates[i], decays[i], unit});
    }
    const AdamW settings{beta1, beta2, epsilon, *learning_rate.data<float>(), *factor.data<float>()};
    if (processes == 1) return adamw(settings, trained);
    SharedWeights* const weights = weights_in_use();
    if (weights != nullptr) weights->plan(matrices(parameters, own));
    with_segment({static_cast<int>(file), static_cast<int>(rank), static_cast<int>(processes)}, [&](Segment& segment) {
      segment.meet();  // now nobody reads the parameters any more
      adamw(settings, trained, [&](size_t i, int64_t first, int64_t count) {
        if (weights == nullptr || trained[i].unit == 1) return;
        const Shape shape = parameters[i].shape();
        weights->pack(i, (own.begin(shape[0] * shape[1], trained[i].unit) + first) / shape[1], count / shape[1]);
      });
      segment.meet();  // now all of them are new
      if (weights != nullptr) weights->set_valid(true);
    });
  });
}

std::vector<Shape> one_number(const std::vector<Shape>&) { return {{1}}; }

std::vector<DataType> float32_of(const std::vector<DataType>&) { return {DataType::FLOAT32}; }

}  // namespace
}  // namespace ops::optimizer_op

PD_BUILD_OP(propeller_square_norm)
    .Inputs({paddle::Vec("Gradients")})
    .Outputs({"Out"})
    .SetKernelFn(PD_KERNEL(ops::optimizer_op::square_norm))
    .SetInferShapeFn(PD_INFER_SHAPE(ops::optimizer_op::one_number))
    .SetInferDtypeFn(PD_INFER_DTYPE(ops::optimizer_op::float32_of));

PD_BUILD_OP(propeller_adamw)
    .Inputs({paddle::Vec("Parameters"), paddle::Vec("Gradients"), paddle::Vec("Moment1"), paddle::Vec("Moment2"),
             paddle::Vec("Beta1Power"), paddle::Vec("Beta2Power"), "LearningRate", "Factor", "Skip"})
    .Outputs({paddle::Vec("ParametersOut"), paddle::Vec("Moment1Out"), paddle::Vec("Moment2Out"),
              paddle::Vec("Beta1PowerOut"), paddle::Vec("Beta2PowerOut")})
    .Attrs({"rates: std::vector<float>", "decays: std::vector<float>", "beta1: float", "beta2: float",
            "epsilon: float", "file: int64_t", "rank: int64_t", "processes: int64_t"})
    .SetInplaceMap({{paddle::Vec("Parameters"), paddle::Vec("ParametersOut")},
                    {paddle::Vec("Moment1"), paddle::Vec("Moment1Out")},
                    {paddle::Vec("Moment2"), paddle::Vec("Moment2Out")},
                    {paddle::Vec("Beta1Power"), paddle::Vec("Beta1PowerOut")},
                    {paddle::Vec("Beta2Power"), paddle::Vec("Beta2PowerOut")}})
    .SetKernelFn(PD_KERNEL(ops::optimizer_op::update));
