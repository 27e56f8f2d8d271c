// Quantisation-aware training by LSQ: rules say which layers have low-bit weights and inputs. The latent
// weights and the step sizes train and travel; the steps stand apart in their fragment and do not decay.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <stdexcept>

#include "quant/nn/lsq_linear.h"
#include "quant/nn/lsq_quantizer.h"
#include "trainer/model/language_model.h"
#include "trainer/model/layers_of.h"
#include "trainer/model_tensors.h"
#include "trainer/options/options.h"
#include "trainer/task/layer_pattern.h"
#include "trainer/task/model_task.h"
#include "trainer/task/started_model.h"
#include "trainer/task/task_kind.h"

namespace thinwire::trainer {
namespace {

struct Rule {
  LayerPattern pattern;
  quant::LsqOptions bits;
};

int bits_of(const std::string& key, const std::string& format, const std::map<std::string, int>& known) {
  if (const auto found = known.find(format); found != known.end()) return found->second;
  std::string names;
  for (const auto& [name, bits] : known) names += (names.empty() ? "" : ", ") + name;
  throw std::invalid_argument(key + ": expected one of " + names + "; found \"" + format + "\"");
}

std::vector<Rule> parse_rules(const QuantOptions& options) {
  if (options.rule.empty())
    throw std::invalid_argument(
        "task.kind = qat expects at least one [[quant.rule]] that says what becomes low-bit");
  std::vector<Rule> rules;
  for (const QuantRule& rule : options.rule) {
    rules.push_back({LayerPattern("quant.rule.match", rule.match),
                     {.weight_bits = bits_of("quant.rule.weights", rule.weights,
                                             {{"none", 0}, {"int2", 2}, {"int4", 4}, {"int8", 8}}),
                      .activation_bits = bits_of("quant.rule.activations", rule.activations,
                                                 {{"none", 0}, {"int4", 4}, {"int8", 8}})}});
  }
  return rules;
}

// Of the first rule that matches; no bits where there is none.
quant::LsqOptions bits_of_layer(const std::vector<Rule>& rules, const std::string& name) {
  for (const Rule& rule : rules) {
    if (rule.pattern.matches(name)) return rule.bits;
  }
  return {.weight_bits = 0, .activation_bits = 0};
}

template <typename Layer>
quant::LinearFactory layers_by_rule(const Options& options) {
  return [rules = parse_rules(options.quant)](const std::string& name, std::int64_t in,
                                              std::int64_t out) -> std::shared_ptr<quant::Linear> {
    const quant::LsqOptions bits = bits_of_layer(rules, name);
    if (bits.weight_bits == 0 && bits.activation_bits == 0) return quant::make_float_linear(in, out);
    return std::make_shared<Layer>(in, out, bits);
  };
}

class QatTask final : public ModelTask {
 public:
  explicit QatTask(const Options& options) : ModelTask(make_started_model(options, qat_layers(options))) {
    for (const Rule& rule : parse_rules(options.quant)) rule.pattern.require_match(model());
    for (const auto& [path, layer] : layers_of<quant::LsqLinear>(model())) {
      layer->start_weight_steps();
      layers_.push_back(layer);
    }
  }

  std::string_view kind() const override { return "qat"; }

  std::vector<TrainedTensor> trained() override {
    std::vector<TrainedTensor> tensors = ModelTask::trained();
    for (TrainedTensor& tensor : tensors) {
      if (!tensor.name.ends_with("_step")) continue;
      tensor.decays = false;
      tensor.group = TensorGroup::kScale;
      tensor.least = static_cast<float>(quant::kMinLsqStep);
    }
    return tensors;
  }

  std::vector<std::string> calibrate(const Batch& batch) override {
    for (quant::LsqLinear* layer : layers_) layer->calibrate_next();
    const at::NoGradGuard no_grad;
    model().forward(batch.tokens);
    std::vector<std::string> steps;
    for (const TrainedTensor& tensor : trained()) {
      if (tensor.name.ends_with(".activation_step")) steps.push_back(tensor.name);
    }
    return steps;
  }

  at::Tensor loss(const Batch& batch) override {
    return mean_cross_entropy(model().forward(batch.tokens).logits, batch.targets);
  }

  void after_update() override {
    for (quant::LsqLinear* layer : layers_) layer->clamp_steps();
  }

  std::optional<std::int64_t> take_clamped_steps() override {
    std::int64_t clamped = 0;
    for (quant::LsqLinear* layer : layers_) clamped += layer->take_clamped_steps();
    return clamped;
  }

 private:
  std::vector<quant::LsqLinear*> layers_;  // the model's
};

}  // namespace

quant::LinearFactory qat_layers(const Options& options) {
  return layers_by_rule<quant::LsqLinear>(options);
}

quant::LinearFactory packed_qat_layers(const Options& options) {
  return layers_by_rule<quant::PackedLsqLinear>(options);
}

std::vector<TensorShape> qat_tensors(const Options& options, const std::vector<LayerShape>& layers) {
  const std::vector<Rule> rules = parse_rules(options.quant);
  std::vector<TensorShape> tensors;
  const auto add_steps = [&](const LayerShape& layer, const char* name, std::int64_t values) {
    TensorShape steps = float_weight({layer.path, values}, true);
    steps.name = layer.path + name;
    steps.group = TensorGroup::kScale;
    tensors.push_back(steps);
  };
  for (const LayerShape& layer : layers) {
    tensors.push_back(float_weight(layer, true));
    if (!layer.is_linear) continue;
    const quant::LsqOptions bits = bits_of_layer(rules, layer.path);
    if (bits.weight_bits > 0) add_steps(layer, ".weight_step", layer.rows);
    if (bits.activation_bits > 0) add_steps(layer, ".activation_step", 1);
  }
  return tensors;
}

std::unique_ptr<Task> make_qat_task(const Options& options) {
  return std::make_unique<QatTask>(options);
}

}  // namespace thinwire::trainer
