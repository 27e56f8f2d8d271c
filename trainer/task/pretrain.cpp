// Plain language modelling: every parameter trains in float32 and travels.
#include <ATen/core/Tensor.h>

#include "quant/nn/linear.h"
#include "trainer/model/language_model.h"
#include "trainer/options/options.h"
#include "trainer/task/model_task.h"
#include "trainer/task/started_model.h"
#include "trainer/task/task_kind.h"

namespace thinwire::trainer {
namespace {

class PretrainTask final : public ModelTask {
 public:
  explicit PretrainTask(std::shared_ptr<LanguageModel> model) : ModelTask(std::move(model)) {}

  std::string_view kind() const override { return "pretrain"; }
  at::Tensor loss(const Batch& batch) override {
    return mean_cross_entropy(model().forward(batch.tokens).logits, batch.targets);
  }
};

}  // namespace

quant::LinearFactory float_layers(const Options&) {
  return
      [](const std::string&, std::int64_t in, std::int64_t out) { return quant::make_float_linear(in, out); };
}

TensorShape float_weight(const LayerShape& layer, bool trains) {
  return {.name = layer.path + ".weight",
          .values = layer.values(),
          .trains = trains,
          .travels = trains,
          .group = layer.columns == 0 ? TensorGroup::kVector : TensorGroup::kMatrix,
          .block = block_of(layer.path + ".weight"),
          .bytes = static_cast<std::uint64_t>(layer.values()) * sizeof(float)};
}

std::vector<TensorShape> float_tensors(const Options&, const std::vector<LayerShape>& layers) {
  std::vector<TensorShape> tensors;
  for (const LayerShape& layer : layers) tensors.push_back(float_weight(layer, true));
  return tensors;
}

std::unique_ptr<Task> make_pretrain_task(const Options& options) {
  return std::make_unique<PretrainTask>(make_started_model(options, float_layers(options)));
}

}  // namespace thinwire::trainer
