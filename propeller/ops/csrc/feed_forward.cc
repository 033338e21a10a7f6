#include "feed_forward.h"

namespace ops {

void feed_forward(const FeedForward& f, const float* x, const FeedForwardKept<void*, float*>& kept, float* y) {
  const SublayerNorm norm{{f.rows, f.width}, f.dropout, f.scale};
  const LayerInput activations(f.rows, f.inner, f.precision, kept.activations);
  {
    Scratch scratch;
    const LayerInput input(x, f.rows, f.width, f.precision, kept.x);
    const RightFactors b = right({f.weight1}, f.width, f.inner, f.width, f.precision, scratch);
    multiply({{f.rows, f.inner, f.width, f.precision, input.left(), f.width, b.parts[0], b.stride, f.bias1,
               activations.place(), f.inner}},
             [&](const Tile& tile) {
               activate(tile, f.activation, f.precision, f.inner, kept.slopes);
               activations.store(tile);
             });
  }
  Scratch scratch;
  const RightFactors b = right({f.weight2}, f.inner, f.width, f.inner, f.precision, scratch);
  multiply({{f.rows, f.width, f.inner, f.precision, activations.left(), f.inner, b.parts[0], b.stride, f.bias2, kept.sum,
             f.width}},
           [&](const Tile& tile) { add_residual(tile, norm, x); });
  residual_norm_forward(norm.shape, f.epsilon, dropout_of(0, 0, 0), nullptr, kept.sum, f.scale, f.bias, y, kept.stats);
}

void feed_forward_gradients(const FeedForward& f, const FeedForwardKept<const void*, const float*>& kept,
                            const float* dy, const FeedForwardGradients& d) {
  const LayerGradient inner(f.rows, f.inner, 1, f.precision, d.x != nullptr, true);
  const ColumnSums inner_sums(bands_of(f.rows), f.inner);
  {
    const LayerGradient outer(f.rows, f.width, 1, f.precision, true, true);
    sublayer_gradient({{f.rows, f.width}, f.dropout, f.scale}, kept.sum, kept.stats, dy, d.x, d.scale, d.bias, outer,
                      d.bias2);
    Scratch scratch;
    const RightFactors b = right_transposed({f.weight2}, f.inner, f.width, f.precision, scratch);
    multiply({{f.rows, f.inner, f.width, f.precision, outer.left(), f.width, b.parts[0], b.stride, nullptr,
               inner.place(), f.inner}},
             [&](const Tile& tile) {
               times_slope(tile, f.precision, f.inner, kept.slopes, tile);
               inner_sums.add(tile);
               inner.store(tile);
             });
    weight_gradients(f.rows, f.inner, f.precision, kept.activations, outer.right(), {d.weight2}, f.width);
  }
  inner_sums.total({d.bias1});
  if (d.x != nullptr) input_gradient(f.rows, f.width, f.inner, f.precision, {f.weight1}, inner.left(), true, d.x);
  weight_gradients(f.rows, f.width, f.precision, kept.x, inner.right(), {d.weight1}, f.inner);
}

}  // namespace ops
