// What a model's layers follow from, as JSON: checkpoints and exported files carry it, so that a model opens
// without its run's config.
#pragma once

#include <nlohmann/json.hpp>

#include "trainer/options/options.h"

namespace thinwire::trainer {

class Task;

// Adds "model" (its sizes resolved), "task" (its kind), "quant", "lora" and "distill" to meta. model.from and
// task.teacher are left out: what came from there is in the tensors.
void describe_options(const Options& options, nlohmann::json& meta);

// The same for a task at work: the model's resolved sizes, the other sections of `options`.
void describe_model(Task& task, const Options& options, nlohmann::json& meta);

// The inverse; other sections keep their defaults. Throws nlohmann::json::exception where a key is missing or
// of another type.
Options described_options(const nlohmann::json& meta);

}  // namespace thinwire::trainer
