// Low-rank adaptation of a frozen low-bit base: only the factors train and travel.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>

#include <set>
#include <stdexcept>

#include "quant/codec/codec.h"
#include "quant/nn/linear.h"
#include "quant/nn/lora_linear.h"
#include "trainer/model/language_model.h"
#include "trainer/model/layers_of.h"
#include "trainer/model_tensors.h"
#include "trainer/options/options.h"
#include "trainer/random.h"
#include "trainer/task/layer_pattern.h"
#include "trainer/task/model_task.h"
#include "trainer/task/started_model.h"
#include "trainer/task/task_kind.h"

namespace thinwire::trainer {
namespace {

const Options& checked(const Options& options) {
  if (options.model.from.empty())
    throw std::invalid_argument(
        "task.kind = lora adapts a trained model; set model.from to a run or checkpoint");
  return options;
}

class LoraTask final : public ModelTask {
 public:
  explicit LoraTask(const Options& options)
      : ModelTask(make_started_model(checked(options), lora_layers(options))) {
    LayerPattern("lora.match", options.lora.match).require_match(model());
    std::set<at::TensorImpl*> factors;
    for (const auto& [path, layer] : layers_of<quant::LoraLinear>(model())) {
      layers_.push_back(layer);
      for (const at::Tensor& factor : layer->parameters()) factors.insert(factor.unsafeGetTensorImpl());
    }
    for (at::Tensor& parameter : model().parameters()) {
      parameter.requires_grad_(factors.contains(parameter.unsafeGetTensorImpl()));
    }
  }

  std::string_view kind() const override { return "lora"; }

  void begin_step(std::uint64_t key) override {
    const at::Generator generator = at::detail::createCPUGenerator(key);
    for (quant::LoraLinear* layer : layers_) layer->set_dropout_generator(generator);
  }

  at::Tensor loss(const Batch& batch) override {
    return mean_cross_entropy(model().forward(batch.tokens).logits, batch.targets);
  }

 private:
  std::vector<quant::LoraLinear*> layers_;  // the model's
};

quant::LoraLinearOptions layer_options(const Options& options) {
  return {.rank = options.lora.rank,
          .alpha = options.lora.alpha,
          .dropout = options.lora.dropout,
          .codec = options.lora.base};
}

}  // namespace

quant::LinearFactory lora_layers(const Options& options) {
  return [layer = layer_options(options), seed = options.run.seed,
          pattern = LayerPattern("lora.match", options.lora.match)](
             const std::string& name, std::int64_t in, std::int64_t out) -> std::shared_ptr<quant::Linear> {
    if (!pattern.matches(name)) return quant::make_float_linear(in, out);
    const std::uint64_t stream = random_stream(seed, "lora " + name)();
    return std::make_shared<quant::LoraLinear>(in, out, layer, at::detail::createCPUGenerator(stream));
  };
}

std::vector<TensorShape> lora_tensors(const Options& given, const std::vector<LayerShape>& layers) {
  const Options& options = checked(given);
  const LayerPattern pattern("lora.match", options.lora.match);
  const quant::LoraLinearOptions own = layer_options(options);
  const auto codec = quant::make_codec({.name = own.codec, .block = own.block});
  std::vector<TensorShape> tensors;
  const auto add_factor = [&](const LayerShape& layer, const char* name, std::int64_t rows,
                              std::int64_t columns) {
    TensorShape factor = float_weight({layer.path, rows, columns}, true);
    factor.name = layer.path + name;
    tensors.push_back(factor);
  };
  for (const LayerShape& layer : layers) {
    TensorShape base = float_weight(layer, false);
    const bool is_adapted = layer.is_linear && pattern.matches(layer.path);
    if (is_adapted) {
      base.name = layer.path + ".base";
      base.bytes = codec->encoded_bytes(static_cast<std::size_t>(layer.values()));
    }
    tensors.push_back(base);
    if (!is_adapted) continue;
    add_factor(layer, ".lora_a", own.rank, layer.columns);
    add_factor(layer, ".lora_b", layer.rows, own.rank);
  }
  return tensors;
}

std::unique_ptr<Task> make_lora_task(const Options& options) {
  return std::make_unique<LoraTask>(options);
}

}  // namespace thinwire::trainer
