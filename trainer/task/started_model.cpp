#include "trainer/task/started_model.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <stdexcept>

#include "quant/nn/lora_linear.h"
#include "trainer/model/language_model.h"
#include "trainer/model/layers_of.h"
#include "trainer/model_file.h"
#include "trainer/model_tensors.h"
#include "trainer/options/options.h"

namespace thinwire::trainer {

std::shared_ptr<LanguageModel> make_started_model(const Options& options,
                                                  const quant::LinearFactory& layers) {
  if (options.model.from.empty()) return make_model(options.model, layers, options.run.seed);

  const LoadedModel source = load_model(options.model.from);
  // A vocabulary that was padded has more tokens than its tokenizer.
  if (options.model.vocab > source.options.model.vocab)
    throw std::invalid_argument(
        fmt::format("model.from {} has a vocabulary of {} tokens, the run's tokenizer one of {}; "
                    "use the tokenizer of model.from",
                    options.model.from, source.options.model.vocab, options.model.vocab));
  const auto model = make_model(source.options.model, layers, options.run.seed);
  const NamedTensors weights = float_weights(*source.model, FloatWeights::kLatent);
  const at::NoGradGuard no_grad;
  for (const auto& parameter : model->named_parameters()) {
    if (const auto weight = weights.find(parameter.key()); weight != weights.end()) {
      parameter.value().copy_(weight->second);
    }
  }
  for (const auto& [path, layer] : layers_of<quant::LoraLinear>(*model))
    layer->set_base(weights.at(path + ".weight"));
  return model;
}

}  // namespace thinwire::trainer
