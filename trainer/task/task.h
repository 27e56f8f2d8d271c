// What a worker learns. A task says which tensors train, which travel and which are derived or frozen; the
// outer loop and the training step know none of the methods. Tasks register in trainer/task/registry.cpp, a
// line each.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "trainer/core/tensors.h"

namespace thinwire::trainer {

class LanguageModel;
struct ModelOptions;
struct Options;

// Something that a task reads and that its checkpoints do not hold.
struct Reference {
  std::string key;     // of the config, "task.teacher"
  std::string what;    // where it was found, for messages
  std::string digest;  // of its content
};

class Task {
 public:
  virtual ~Task() = default;

  virtual std::string_view kind() const = 0;
  virtual LanguageModel& model() = 0;
  const ModelOptions& model_options();  // of model(): resolved, no zeros left

  // In a fixed order, the same on every worker.
  virtual std::vector<TrainedTensor> trained() = 0;
  // Not trained, but part of the model that a checkpoint must hold (a packed base, a teacher is not).
  virtual std::vector<std::pair<std::string, at::Tensor>> frozen() { return {}; }

  // The same on every worker, and after a resume.
  virtual std::vector<Reference> references() const { return {}; }

  // Sets data-dependent starts (step sizes of activations) from a first batch. Worker 0's are then sent to
  // all: they must be among trained().
  virtual std::vector<std::string> calibrate(const Batch&) { return {}; }

  // Before the forward passes of a step. key is a function of (seed, worker, step): what is random in the
  // objective (dropout) draws from it, so that a resumed run repeats a step exactly.
  virtual void begin_step(std::uint64_t /*key*/) {}

  // The training objective, mean over tokens, a scalar with a graph.
  virtual at::Tensor loss(const Batch& batch) = 0;

  // After an optimiser step or a merge: re-derives what is derived (a step size that crossed zero, ...).
  virtual void after_update() {}
  // How many values after_update has brought back to their least since the last call, each counted once; none
  // where no tensor has a least.
  virtual std::optional<std::int64_t> take_clamped_steps() { return {}; }

  // Cross-entropy of the model with the text: sum over tokens, no graph.
  virtual double evaluate(const Batch& batch);
};

// options.model.vocab must be set. Starts from options.model.from where that is given, else from run.seed
// alone, so that all workers start equal. Throws std::invalid_argument that names the known kinds, or the
// setting that does not fit and what to change.
std::unique_ptr<Task> make_task(const Options& options);

// Cross-entropy in nats, mean over the tokens whose target is not negative. logits: float [..., vocab];
// targets: int64 [...]. A scalar with a graph.
at::Tensor mean_cross_entropy(const at::Tensor& logits, const at::Tensor& targets);

}  // namespace thinwire::trainer
