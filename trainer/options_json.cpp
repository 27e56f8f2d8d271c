#include "trainer/options_json.h"

#include "trainer/model/language_model.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ModelOptions, arch, layers, width, heads, kv_heads, mlp_width, context,
                                   vocab, tied)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(QuantRule, match, weights, activations)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(QuantOptions, rule)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LoraOptions, match, rank, alpha, dropout, base)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(DistillOptions, match, temperature, logits, hidden, labels)

void describe_options(const Options& options, nlohmann::json& meta) {
  meta["model"] = options.model;
  meta["task"] = options.task.kind;
  meta["quant"] = options.quant;
  meta["lora"] = options.lora;
  meta["distill"] = options.distill;
}

void describe_model(Task& task, const Options& options, nlohmann::json& meta) {
  Options resolved = options;
  resolved.model = task.model().options();
  describe_options(resolved, meta);
}

Options described_options(const nlohmann::json& meta) {
  Options options;
  meta.at("model").get_to(options.model);
  meta.at("task").get_to(options.task.kind);
  meta.at("quant").get_to(options.quant);
  meta.at("lora").get_to(options.lora);
  meta.at("distill").get_to(options.distill);
  return options;
}

}  // namespace thinwire::trainer
