#include "trainer/model/llama.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/polar.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/view_as_complex.h>
#include <ATen/ops/view_as_real.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <torch/nn/modules/container/modulelist.h>

#include <cmath>

#include "quant/nn/linear.h"
#include "trainer/random.h"

namespace thinwire::trainer {
namespace {

// B sequences, T tokens, H heads, D features of a head.

// The angles of positions 0 .. context-1 as complex numbers of length 1: complex64 [context, D/2].
at::Tensor rotary_table(std::int64_t context, std::int64_t head_width) {
  const at::Tensor exponents = at::arange(0, head_width, 2, at::kDouble) / static_cast<double>(head_width);
  const at::Tensor frequencies = at::pow(kRotaryBase, exponents).reciprocal();
  const at::Tensor angles = at::outer(at::arange(context, at::kDouble), frequencies);
  return at::polar(at::ones_like(angles), angles).to(at::kComplexFloat);
}

// x: [B, T, H, D]; rotary: complex64 [T, 1, D/2]. Turned in float32 whatever x is.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& rotary) {
  const at::Tensor pairs = at::view_as_complex(x.to(at::kFloat).unflatten(-1, {-1, 2}));
  return at::view_as_real(pairs * rotary).flatten(-2).to(x.scalar_type());
}

class Weight : public torch::nn::Module {
 public:
  explicit Weight(at::Tensor start) : weight(register_parameter("weight", std::move(start))) {}
  at::Tensor weight;
};

class RmsNorm final : public Weight {
 public:
  explicit RmsNorm(std::int64_t width) : Weight(at::ones({width})) {}
  at::Tensor forward(const at::Tensor& x) const {
    return at::rms_norm(x, {weight.size(0)}, weight, kNormEpsilon);
  }
};

class Attention final : public torch::nn::Module {
 public:
  Attention(const ModelOptions& options, const quant::LinearFactory& linear, const std::string& path)
      : heads_(options.heads), kv_heads_(options.kv_heads), head_width_(options.width / options.heads) {
    const auto layer = [&](const std::string& name, std::int64_t in, std::int64_t out) {
      return register_module(name, linear(path + "." + name, in, out));
    };
    q_ = layer("q", options.width, options.width);
    k_ = layer("k", options.width, kv_heads_ * head_width_);
    v_ = layer("v", options.width, kv_heads_ * head_width_);
    o_ = layer("o", options.width, options.width);
  }

  // x: [B, T, width]
  at::Tensor forward(const at::Tensor& x, const at::Tensor& rotary) {
    const at::Tensor q = rotate(split_heads(q_->forward(x), heads_), rotary).transpose(1, 2);
    const at::Tensor k = rotate(split_heads(k_->forward(x), kv_heads_), rotary).transpose(1, 2);
    const at::Tensor v = split_heads(v_->forward(x), kv_heads_).transpose(1, 2);
    const at::Tensor mixed = at::scaled_dot_product_attention(q, k, v, /*attn_mask=*/{}, /*dropout_p=*/0.0,
                                                              /*is_causal=*/true, /*scale=*/std::nullopt,
                                                              /*enable_gqa=*/kv_heads_ != heads_);
    return o_->forward(mixed.transpose(1, 2).flatten(-2));
  }

 private:
  // [B, T, heads * D] -> [B, T, heads, D]
  at::Tensor split_heads(const at::Tensor& x, std::int64_t heads) const {
    return x.view({x.size(0), x.size(1), heads, head_width_});
  }

  std::int64_t heads_, kv_heads_, head_width_;
  std::shared_ptr<quant::Linear> q_, k_, v_, o_;
};

class Mlp final : public torch::nn::Module {
 public:
  Mlp(const ModelOptions& options, const quant::LinearFactory& linear, const std::string& path)
      : gate_(register_module("gate", linear(path + ".gate", options.width, options.mlp_width))),
        up_(register_module("up", linear(path + ".up", options.width, options.mlp_width))),
        down_(register_module("down", linear(path + ".down", options.mlp_width, options.width))) {}

  at::Tensor forward(const at::Tensor& x) {
    return down_->forward(at::silu(gate_->forward(x)) * up_->forward(x));
  }

 private:
  std::shared_ptr<quant::Linear> gate_, up_, down_;
};

class Block final : public torch::nn::Module {
 public:
  Block(const ModelOptions& options, const quant::LinearFactory& linear, const std::string& path)
      : attention_norm_(register_module("attention_norm", std::make_shared<RmsNorm>(options.width))),
        attention_(
            register_module("attention", std::make_shared<Attention>(options, linear, path + ".attention"))),
        mlp_norm_(register_module("mlp_norm", std::make_shared<RmsNorm>(options.width))),
        mlp_(register_module("mlp", std::make_shared<Mlp>(options, linear, path + ".mlp"))) {}

  at::Tensor forward(const at::Tensor& x, const at::Tensor& rotary) {
    const at::Tensor mixed = x + attention_->forward(attention_norm_->forward(x), rotary);
    return mixed + mlp_->forward(mlp_norm_->forward(mixed));
  }

 private:
  std::shared_ptr<RmsNorm> attention_norm_;
  std::shared_ptr<Attention> attention_;
  std::shared_ptr<RmsNorm> mlp_norm_;
  std::shared_ptr<Mlp> mlp_;
};

class Llama final : public LanguageModel {
 public:
  Llama(const ModelOptions& options, const quant::LinearFactory& linear) : options_(options) {
    embedding_ =
        register_module("embedding", std::make_shared<Weight>(at::zeros({options.vocab, options.width})));
    torch::nn::ModuleList blocks;
    for (std::int64_t n = 0; n < options.layers; ++n) {
      blocks_.push_back(std::make_shared<Block>(options, linear, "blocks." + std::to_string(n)));
      blocks->push_back(blocks_.back());
    }
    register_module("blocks", blocks);
    norm_ = register_module("norm", std::make_shared<RmsNorm>(options.width));
    if (!options.tied) head_ = register_module("head", linear("head", options.width, options.vocab));
    rotary_ = rotary_table(options.context, options.width / options.heads);
  }

  ModelOutput forward(const at::Tensor& tokens, bool want_hidden) override {
    const std::int64_t length = tokens.size(1);
    TORCH_CHECK_VALUE(length <= options_.context, "the model's context is ", options_.context,
                      " tokens, found ", length, "; raise model.context or shorten data.sequence");
    const at::Tensor rotary = rotary_.narrow(0, 0, length).unsqueeze(1);
    ModelOutput output;
    at::Tensor x = at::embedding(embedding_->weight, tokens);
    if (want_hidden) output.hidden.push_back(x);
    for (const auto& block : blocks_) {
      x = block->forward(x, rotary);
      if (want_hidden) output.hidden.push_back(x);
    }
    x = norm_->forward(x);
    output.logits = (head_ ? head_->forward(x) : at::linear(x, embedding_->weight)).to(at::kFloat);
    return output;
  }

  std::int64_t num_blocks() const override { return options_.layers; }
  const ModelOptions& options() const override { return options_; }

 private:
  ModelOptions options_;
  std::shared_ptr<Weight> embedding_;
  std::vector<std::shared_ptr<Block>> blocks_;
  std::shared_ptr<RmsNorm> norm_;
  std::shared_ptr<quant::Linear> head_;  // none if tied
  at::Tensor rotary_;                    // complex64 [context, D/2]; no buffer: checkpoints need not hold it
};

void require(bool fits, const std::string& expected, const std::string& found) {
  if (!fits) throw std::invalid_argument("[model] expected " + expected + ", found " + found);
}

// Far beyond every machine, and far from where the arithmetic of sizes ends.
constexpr double kMostValues = 1e13;
constexpr std::int64_t kMostLayers = 100000;
constexpr std::int64_t kMostWidth = std::int64_t{1} << 32;

}  // namespace

ModelOptions settled_llama_sizes(const ModelOptions& given) {
  ModelOptions options = given;
  const auto text = [](std::int64_t value) { return std::to_string(value); };
  require(options.layers > 0, "layers > 0", text(options.layers));
  require(options.width > 0, "width > 0", text(options.width));
  require(options.width <= kMostWidth, "a width that some machine can hold", text(options.width));
  require(options.vocab > 0, "vocab > 0", text(options.vocab));
  require(options.context > 0, "context > 0", text(options.context));
  require(options.heads > 0 && options.width % options.heads == 0,
          "heads that divide width " + text(options.width), text(options.heads));
  require(options.width / options.heads % 2 == 0, "an even width per head (rotary positions turn pairs)",
          text(options.width / options.heads) + "; change width or heads");
  if (options.kv_heads == 0) options.kv_heads = options.heads;
  require(options.kv_heads > 0 && options.heads % options.kv_heads == 0,
          "kv_heads that divide heads " + text(options.heads), text(options.kv_heads));
  if (options.mlp_width == 0) options.mlp_width = (options.width * 8 / 3 + 15) / 16 * 16;
  require(options.mlp_width > 0, "mlp_width > 0", text(options.mlp_width));
  return options;
}

std::vector<LayerShape> llama_layers(const ModelOptions& options) {
  const double width = static_cast<double>(options.width), mlp_width = static_cast<double>(options.mlp_width);
  const double values = static_cast<double>(options.layers) * width * (2 * width + 3 * mlp_width) +
                        width * static_cast<double>(options.vocab) +
                        width * static_cast<double>(options.context);
  require(options.layers <= kMostLayers && values <= kMostValues, "a model that some machine can hold",
          fmt::format("{} layers of width {}, {:.3g} parameters", options.layers, options.width, values));
  const std::int64_t kv_width = options.kv_heads * (options.width / options.heads);
  std::vector<LayerShape> layers = {{"embedding", options.vocab, options.width}};
  for (std::int64_t n = 0; n < options.layers; ++n) {
    const std::string block = "blocks." + std::to_string(n);
    const auto linear = [&](const char* name, std::int64_t out, std::int64_t in) {
      layers.push_back({block + name, out, in, true});
    };
    layers.push_back({block + ".attention_norm", options.width});
    linear(".attention.q", options.width, options.width);
    linear(".attention.k", kv_width, options.width);
    linear(".attention.v", kv_width, options.width);
    linear(".attention.o", options.width, options.width);
    layers.push_back({block + ".mlp_norm", options.width});
    linear(".mlp.gate", options.mlp_width, options.width);
    linear(".mlp.up", options.mlp_width, options.width);
    linear(".mlp.down", options.width, options.mlp_width);
  }
  layers.push_back({"norm", options.width});
  if (!options.tied) layers.push_back({"head", options.vocab, options.width, true});
  return layers;
}

namespace {

void initialise(LanguageModel& model, std::uint64_t seed) {
  const double residual_scale = 1 / std::sqrt(2.0 * static_cast<double>(model.num_blocks()));
  const at::NoGradGuard no_grad;
  for (const auto& parameter : model.named_parameters()) {
    const std::string& name = parameter.key();
    const at::Tensor& weight = parameter.value();
    if (!name.ends_with(".weight") || weight.dim() != 2 || weight.scalar_type() != at::kFloat) continue;
    const bool residual = name.ends_with(".attention.o.weight") || name.ends_with(".mlp.down.weight");
    RandomStream stream = random_stream(seed, "initial " + name);
    fill_normal(stream, residual ? 0.02 * residual_scale : 0.02,
                {weight.data_ptr<float>(), static_cast<std::size_t>(weight.numel())});
  }
}

}  // namespace

std::shared_ptr<LanguageModel> make_llama(const ModelOptions& options, const quant::LinearFactory& linear,
                                          std::uint64_t seed) {
  auto model = std::make_shared<Llama>(settled_llama_sizes(options), linear);
  initialise(*model, seed);
  return model;
}

}  // namespace thinwire::trainer
