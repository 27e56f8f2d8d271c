// Models on disk: those in the checkpoints of our runs, and those exported to one file.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "trainer/format/output_path.h"
#include "trainer/format/safetensors.h"
#include "trainer/options/options.h"

namespace thinwire::trainer {

class LanguageModel;

struct LoadedModel {
  std::shared_ptr<LanguageModel> model;  // in evaluation mode; nothing of it asks for a gradient
  Options options;        // model, task.kind, quant, lora, distill: what its layers follow from
  std::string tokenizer;  // Tokenizer::to_bytes(); empty if it is not stored beside the model
  // Of the run that trained it, where it is known.
  std::optional<std::int64_t> step;
  std::string corpus;  // key of the text that it learned from; empty where it is not known
};

// path: a run's folder (its newest checkpoint is taken), checkpoints/step-N,
// checkpoints/step-N/worker-K, or an exported file. A checkpoint gives the agreed weights; weights of an
// exported file may be float16 or bfloat16 and become float32. Throws std::runtime_error that names the file,
// what was expected and what was found: damage, a tokenizer that is not the run's, a weight, scale or step
// that is NaN or infinite ("FILE: NAME[5] is NaN; ...").
LoadedModel load_model(const std::string& path);

enum class ExportFormat {
  kFloat,   // float32 weights by the names of a float model; low-bit layers as what they multiply by
  kPacked,  // low-bit layers as they are deployed: the model gives the same logits, bit for bit
};

// Writes the model at `from` (as for load_model) and its tokenizer to one safetensors file, which load_model
// opens. Throws std::runtime_error as load_model, and where kPacked is asked of a model without low-bit
// layers. Returns the step of the run that trained it, where it is known.
std::optional<std::int64_t> export_model(const std::string& from, ExportFormat format, const OutputPath& out);

// Throws std::runtime_error if the tokenizer in a run's folder is not that of the checkpoint whose meta this
// is, or is not there.
void require_stored_tokenizer(const std::string& run_dir, const nlohmann::json& checkpoint_meta);

// The tokenizer that a task is bound to, because it starts from model.from or learns from task.teacher; empty
// if neither is given. Throws std::runtime_error if the two differ or one has none.
std::string inherited_tokenizer(const Options& options);

}  // namespace thinwire::trainer
