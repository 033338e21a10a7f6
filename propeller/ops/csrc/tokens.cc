#include "tokens.h"

#include <algorithm>
#include <cstring>

#include "lanes.h"
#include "support.h"

namespace ops {
namespace {

constexpr int64_t kGradientColumns = 64;  // of a gradient, on one thread

}  // namespace

template <typename T>
int64_t count_tokens(const T* mask, int64_t size) {
  return size - std::count(mask, mask + size, T(0));
}

template <typename T>
void lay_out_tokens(const T* mask, int64_t rows, int64_t columns, const TokenLayout& layout) {
  int64_t count = 0;
  for (int64_t row = 0; row < rows; ++row) {
    layout.starts[row] = count;
    for (int64_t at = row * columns; at < (row + 1) * columns; ++at) {
      layout.places[at] = mask[at] != T(0) ? count : -1;
      if (mask[at] != T(0)) layout.tokens[count++] = at;
    }
  }
  layout.starts[rows] = count;
}

void take(const void* x, int64_t bytes, const int64_t* index, int64_t count, int none, void* out) {
  const auto* from = static_cast<const char*>(x);
  auto* to = static_cast<char*>(out);
  parallel_for(count, [&](int64_t i) {
    if (index[i] < 0) {
      std::memset(to + i * bytes, none, bytes);
    } else {
      std::memcpy(to + i * bytes, from + index[i] * bytes, bytes);
    }
  });
}

void take_gradient(const float* dout, int64_t width, const int64_t* index, int64_t count, int64_t rows, float* dx) {
  parallel_for(ceil_div(width, kGradientColumns), [&](int64_t block) {
    const int64_t column = block * kGradientColumns, wide = std::min(kGradientColumns, width - column);
    for (int64_t i = 0; i < rows; ++i) std::fill_n(dx + i * width + column, wide, 0.0f);
    for (int64_t i = 0; i < count; ++i) {
      if (index[i] >= 0) add_to(dout + i * width + column, wide, dx + index[i] * width + column);
    }
  });
}

#define OPS_MASK(T)                                     \
  template int64_t count_tokens(const T*, int64_t); \
  template void lay_out_tokens(const T*, int64_t, int64_t, const TokenLayout&);
OPS_MASK(float)
OPS_MASK(int32_t)
OPS_MASK(int64_t)
OPS_MASK(bool)

}  // namespace ops
