// Models on disk: those in the checkpoints of our runs, and those exported to one file.
#pragma once

#include <memory>
#include <string>

#include "trainer/format/safetensors.h"
#include "trainer/model/language_model.h"
#include "trainer/options.h"

namespace thinwire::trainer {

struct LoadedModel {
  std::shared_ptr<LanguageModel> model;  // in evaluation mode; nothing of it asks for a gradient
  Options options;        // model, task.kind, quant, lora, distill: what its layers follow from
  std::string tokenizer;  // Tokenizer::to_bytes(); empty if it is not stored beside the model
};

// path: a run's folder (its newest whole checkpoint is taken), checkpoints/step-N,
// checkpoints/step-N/worker-K, or an exported file. A checkpoint gives the agreed weights. Throws
// std::runtime_error that names the file, what was expected and what was found.
LoadedModel load_model(const std::string& path);

enum class ExportFormat {
  kFloat,   // float32 weights by the names of a float model; low-bit layers as what they multiply by
  kPacked,  // low-bit layers as they are deployed: the model gives the same logits, bit for bit
};

// Writes the model at `from` (as for load_model) and its tokenizer to one safetensors file, which load_model
// opens. Throws std::runtime_error as load_model, and where kPacked is asked of a model without low-bit
// layers.
void export_model(const std::string& from, ExportFormat format, const std::string& path);

// The tokenizer that a task is bound to, because it starts from model.from or learns from task.teacher; empty
// if neither is given. Throws std::runtime_error if the two differ or one has none.
std::string inherited_tokenizer(const Options& options);

}  // namespace thinwire::trainer
