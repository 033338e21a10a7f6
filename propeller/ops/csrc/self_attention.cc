#include "self_attention.h"

namespace ops {
namespace {

// Queries, keys and values side by side.
void project(const SelfAttention& a, const float* x, void* x_transposed, float* qkv) {
  const auto [tokens, hidden] = NormShape{a.shape.tokens, a.shape.hidden};
  Scratch scratch;
  const LayerInput input(x, tokens, hidden, a.precision, x_transposed);
  const RightFactors b = right(a.projections, hidden, hidden, hidden, a.precision, scratch);
  std::vector<Product> products;
  for (size_t p = 0; p < a.projections.size(); ++p) {
    products.push_back({tokens, hidden, hidden, a.precision, input.left(), hidden, b.parts[p], b.stride,
                        a.projection_biases[p], qkv + p * hidden, a.shape.stride});
  }
  multiply(products);
}

}  // namespace

void self_attention(const SelfAttention& a, const float* x, const SelfAttentionKept<void*, float*>& kept, float* y) {
  const auto [tokens, hidden] = NormShape{a.shape.tokens, a.shape.hidden};
  const SublayerNorm norm{{tokens, hidden}, a.dropout, a.scale};
  project(a, x, kept.x, kept.qkv);
  Scratch result, scratch;
  float* const context = result.get<float>(tokens * hidden);
  attention_forward(a.shape, a.precision, a.of_weights, kept.qkv, context, kept.terms);
  const LayerInput input(context, tokens, hidden, a.precision, kept.context);
  const RightFactors b = right({a.output}, hidden, hidden, hidden, a.precision, scratch);
  multiply({{tokens, hidden, hidden, a.precision, input.left(), hidden, b.parts[0], b.stride, a.output_bias, kept.sum,
             hidden}},
           [&](const Tile& tile) { add_residual(tile, norm, x); });
  residual_norm_forward(norm.shape, a.epsilon, dropout_of(0, 0, 0), nullptr, kept.sum, a.scale, a.bias, y, kept.stats);
}

void self_attention_gradients(const SelfAttention& a, const SelfAttentionKept<const void*, const float*>& kept,
                              const float* dy, const SelfAttentionGradients& d) {
  const auto [tokens, hidden] = NormShape{a.shape.tokens, a.shape.hidden};
  const int64_t parts = static_cast<int64_t>(a.projections.size());
  Scratch of_context, of_qkv;
  float* const dcontext = of_context.get<float>(tokens * hidden);
  {
    const LayerGradient output(tokens, hidden, 1, a.precision, true, true);
    sublayer_gradient({{tokens, hidden}, a.dropout, a.scale}, kept.sum, kept.stats, dy, d.x, d.scale, d.bias, output,
                      d.output_bias);
    input_gradient(tokens, hidden, hidden, a.precision, {a.output}, output.left(), false, dcontext);
    weight_gradients(tokens, hidden, a.precision, kept.context, output.right(), {d.output}, hidden);
  }
  const LayerGradient projections(tokens, parts * hidden, parts, a.precision, d.x != nullptr, true);
  const ColumnSums sums(ceil_div(tokens, kPackRows), parts * hidden);
  float* const dqkv = projections.place() ? projections.place() : of_qkv.get<float>(tokens * parts * hidden);
  attention_backward(a.shape, a.precision, a.of_weights, kept.qkv, kept.terms, dcontext, dqkv);
  for_tiles(dqkv, tokens, parts * hidden, [&](const Tile& tile) {
    sums.add(tile);
    projections.store(tile);
  });
  sums.total(d.projection_biases);
  if (d.x != nullptr) {
    input_gradient(tokens, hidden, parts * hidden, a.precision, a.projections, projections.left(), true, d.x);
  }
  weight_gradients(tokens, hidden, a.precision, kept.x, projections.right(), d.projections, hidden);
}

}  // namespace ops
