#include "trainer/plan.h"

#include <fmt/format.h>

#include <limits>
#include <optional>
#include <stdexcept>
#include <vector>

#include "trainer/data/tokenizer.h"
#include "trainer/inner/optimizer_plan.h"
#include "trainer/options/options.h"
#include "trainer/outer/outer_plan.h"
#include "trainer/stored_sizes.h"
#include "trainer/task/task_tensors.h"

namespace thinwire::trainer {
namespace {

constexpr std::uint64_t kValueBytes = sizeof(float);

// The model at a path of the config; nothing where the config names none.
std::optional<ModelOptions> sizes_at(const char* key, const std::string& path) {
  if (path.empty()) return std::nullopt;
  auto sizes = stored_sizes(path);
  if (!sizes)
    throw std::runtime_error(
        fmt::format("{}: expected a run, a checkpoint or an exported model at {}, found none", key, path));
  return sizes;
}

std::int64_t vocabulary(const Options& options, const std::optional<ModelOptions>& teacher) {
  if (options.model.vocab != 0) return options.model.vocab;
  if (teacher) return teacher->vocab;
  if (options.data.tokenizer == "bpe") return options.data.vocab_size;
  return make_tokenizer(options.data)->vocab_size();
}

// Saturates.
std::int64_t product(std::initializer_list<std::int64_t> factors) {
  std::int64_t result = 1;
  for (const std::int64_t factor : factors) {
    if (__builtin_mul_overflow(result, factor, &result)) return std::numeric_limits<std::int64_t>::max();
  }
  return result;
}

std::int64_t values_of(const std::vector<LayerShape>& layers) {
  std::int64_t values = 0;
  for (const LayerShape& layer : layers) values += layer.values();
  return values;
}

std::vector<FlatItem> travelling(const std::vector<TensorShape>& tensors) {
  std::vector<FlatItem> items;
  for (const TensorShape& tensor : tensors) {
    if (tensor.travels)
      items.push_back({tensor.block, tensor.group, static_cast<std::size_t>(tensor.values)});
  }
  return items;
}

// What a backward pass finds, of a micro-batch: float32 values a token and block (the residual stream, norms,
// projections, rotated heads, the parts of the MLP), and those of the logits. A rough count.
std::uint64_t activation_bytes(const Options& options, const ModelOptions& model) {
  const std::int64_t kv_width = model.kv_heads * (model.width / model.heads);
  const std::int64_t block = 14 * model.width + 5 * kv_width + 4 * model.mlp_width;
  const std::int64_t values = model.layers * block + 3 * model.width + 4 * model.vocab;
  const std::int64_t tokens =
      product({options.inner.batch / options.inner.accumulate, options.data.sequence});
  return static_cast<std::uint64_t>(product({tokens, values, static_cast<std::int64_t>(kValueBytes)}));
}

// Copies of quantised weights and inputs that the backward pass of low-bit layers needs, beside those of
// float ones.
bool has_low_bit_layers(const Options& options) {
  return options.task.kind != "pretrain";
}

}  // namespace

RunPlan plan_run(const Options& options, int workers) {
  const std::optional<ModelOptions> base = sizes_at("model.from", options.model.from);
  const std::optional<ModelOptions> teacher = sizes_at("task.teacher", options.task.teacher);
  Options settled = options;
  if (base) settled.model = *base;
  settled.model.vocab = base ? base->vocab : vocabulary(options, teacher);
  settled.model = settled_sizes(settled.model);
  const std::vector<LayerShape> layers = model_layers(settled.model);
  settled.model.from = options.model.from;  // a task may need one
  const std::vector<TensorShape> tensors = task_tensors(settled, layers);
  const OuterPlan outer = plan_outer(options.outer, workers, options.inner.steps, travelling(tensors));

  RunPlan plan;
  plan.model = settled.model;
  plan.model.from.clear();
  plan.commits = outer.commits;
  plan.wire_bytes = outer.wire_bytes;
  plan.tokens = product({options.inner.steps, options.inner.batch, options.data.sequence, workers});
  std::uint64_t model_bytes = 0;
  for (const TensorShape& tensor : tensors) {
    plan.parameters += tensor.values;
    if (tensor.trains) plan.trainable += tensor.values;
    model_bytes += tensor.bytes;
  }
  plan.gradient_bytes = kValueBytes * static_cast<std::uint64_t>(plan.trainable);
  plan.held_bytes = model_bytes +
                    kValueBytes * static_cast<std::uint64_t>(optimizer_values(options.inner, tensors)) +
                    outer.held_bytes;
  if (teacher)
    plan.held_bytes += values_of(model_layers(settled_sizes(*teacher)));  // packed, a byte a value at least

  std::uint64_t activations = activation_bytes(options, settled.model);
  if (has_low_bit_layers(options)) activations += activations / 2 + model_bytes;
  plan.peak_bytes = plan.held_bytes + plan.gradient_bytes + outer.in_flight_bytes + activations;
  if (teacher) plan.peak_bytes += kValueBytes * static_cast<std::uint64_t>(plan.parameters) + activations / 2;
  return plan;
}

}  // namespace thinwire::trainer
