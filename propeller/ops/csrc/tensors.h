// How operators see Paddle's tensors. Only the operators' registrations read this: Paddle's headers stay out of the rest.
#pragma once

#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "paddle/common/enforce.h"
#include "paddle/phi/api/ext/op_meta_info.h"
#include "paddle/phi/api/include/api.h"
#include "paddle/phi/core/dense_tensor.h"

#include "philox.h"
#include "pool.h"
#include "product.h"
#include "support.h"

namespace ops {

using Shape = std::vector<int64_t>;

inline std::string text(const Shape& shape) {
  std::string result = "[";
  for (size_t i = 0; i < shape.size(); ++i) result += (i ? ", " : "") + std::to_string(shape[i]);
  return result + "]";
}

// Of all exceptions, Paddle's executor hands the text of its own kind on alone.
[[noreturn]] inline void refuse(const std::string& text) {
  PADDLE_THROW(common::errors::InvalidArgument("%s", text));
}

template <typename Work>
void run(const char* op, Work&& work) {
  std::string failure;
  try {
    work();
    return;
  } catch (const std::bad_alloc& e) {
    PADDLE_THROW(common::errors::ResourceExhausted("%s: memory ran out: %s", std::string(op), std::string(e.what())));
  } catch (const std::exception& e) {
    failure = e.what();
  }
  PADDLE_THROW(common::errors::External("%s: %s", std::string(op), failure));
}

// Sizes that are not known yet are -1 and fit everything.
inline bool fits(int64_t a, int64_t b) { return a == b || a < 0 || b < 0; }

inline void require_type(paddle::DataType type, const paddle::Tensor& tensor, const std::string& op,
                         const std::string& argument) {
  if (tensor.dtype() != type) {
    refuse(op + ": " + argument + " of shape " + text(tensor.shape()) + " is " +
           phi::DataTypeToString(tensor.dtype()) + ", expected " + phi::DataTypeToString(type));
  }
}

inline void require_float32(const paddle::Tensor& tensor, const std::string& op, const std::string& argument) {
  require_type(paddle::DataType::FLOAT32, tensor, op, argument);
}

inline void require_int64(const paddle::Tensor& tensor, const std::string& op, const std::string& argument) {
  require_type(paddle::DataType::INT64, tensor, op, argument);
}

// float32 numbers of this shape.
inline void check_like(const std::string& op, const std::string& argument, const paddle::Tensor& tensor,
                       const Shape& expected) {
  require_float32(tensor, op, argument);
  if (tensor.shape() != expected) {
    refuse(op + ": " + argument + " has shape " + text(tensor.shape()) + ", expected " + text(expected));
  }
}

inline Dropout dropout_from(const std::string& op, float probability, const paddle::optional<paddle::Tensor>& seed,
                            int64_t site) {
  if (probability == 0) return dropout_of(0, 0, 0);
  if (!(probability > 0 && probability < 1)) {
    refuse(op + ": dropout is " + std::to_string(probability) + ", expected 0 or more and less than 1");
  }
  if (!seed || seed->dtype() != paddle::DataType::INT64 || seed->numel() != 1) {
    refuse(op + ": seed is " + (seed ? phi::DataTypeToString(seed->dtype()) + " " + text(seed->shape()) : "missing") +
           ", expected int64 [1]");
  }
  return dropout_of(probability, *seed->data<int64_t>(), site);
}

inline Precision precision_of(const std::string& name) {
  if (name == "fp32") return Precision::kFloat32;
  if (name == "bf16") return Precision::kBfloat16;
  refuse("precision is '" + name + "', expected fp32 or bf16");
}

inline paddle::DataType type_of(Precision precision) {
  return precision == Precision::kBfloat16 ? paddle::DataType::BFLOAT16 : paddle::DataType::FLOAT32;
}

// Not initialised.
inline paddle::Tensor new_tensor(const Shape& shape, paddle::DataType type = paddle::DataType::FLOAT32) {
  size_t bytes = phi::SizeOf(type);
  for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
  if (bytes == 0) return paddle::experimental::empty(shape, type, paddle::CPUPlace());
  void* place = nullptr;
  run("a result", [&] { place = take(bytes); });
  const auto free = [](phi::Allocation* block) { give_back(block->ptr(), block->size()); };
  const phi::DenseTensorMeta meta(type, common::make_ddim(shape));
  return paddle::Tensor(std::make_shared<phi::DenseTensor>(
      std::make_shared<phi::Allocation>(place, bytes, free, paddle::CPUPlace()), meta));
}

}  // namespace ops
