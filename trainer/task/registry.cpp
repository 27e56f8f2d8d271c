#include <array>

#include "trainer/named.h"
#include "trainer/options/options.h"
#include "trainer/registries.h"
#include "trainer/task/task_kind.h"

namespace thinwire::trainer {
namespace {

constexpr std::array kTaskKinds = {
    TaskKind{"pretrain", make_pretrain_task, float_layers, float_layers, float_tensors},
    TaskKind{"qat", make_qat_task, qat_layers, packed_qat_layers, qat_tensors, "quant.rule"},
    TaskKind{"lora", make_lora_task, lora_layers, lora_layers, lora_tensors,
             "lora.match lora.rank lora.alpha lora.dropout lora.base"},
    TaskKind{"distill", make_distill_task, distill_layers, packed_distill_layers, float_tensors,
             "task.teacher distill.match distill.temperature distill.logits distill.hidden distill.labels"},
};

}  // namespace

const TaskKind& find_task_kind(const std::string& name) {
  return find_named(kTaskKinds, "task.kind", name);
}

std::vector<EntryKeys> task_keys() {
  std::vector<EntryKeys> all;
  for (const TaskKind& kind : kTaskKinds) all.push_back({std::string(kind.name), words_of(kind.keys)});
  return all;
}

std::vector<std::string> task_kinds() {
  return names_of(kTaskKinds);
}

std::vector<TensorShape> task_tensors(const Options& options, const std::vector<LayerShape>& layers) {
  return find_task_kind(options.task.kind).tensors(options, layers);
}

std::unique_ptr<Task> make_task(const Options& options) {
  return find_task_kind(options.task.kind).make(options);
}

}  // namespace thinwire::trainer
