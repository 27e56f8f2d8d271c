// A model of ours opened for use, with its tokenizer.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "trainer/data/tokenizer.h"
#include "trainer/model_file.h"

namespace thinwire::launch {

struct OpenModel {
  std::shared_ptr<trainer::LanguageModel> model;
  trainer::ModelOptions sizes;  // the model's
  std::unique_ptr<trainer::Tokenizer> tokenizer;
  std::optional<std::int64_t> step;  // where the file says it
  std::string corpus;                // as LoadedModel's
};

// path: as trainer::load_model. Throws UsageError for a path that is not there, std::runtime_error for a
// model that cannot be opened, has no tokenizer beside it, or has fewer tokens than that. Says on standard
// error which step the model is of.
OpenModel open_model(const std::string& path, int threads);

// For --json: the step, or null.
nlohmann::json step_of(const OpenModel& open);

}  // namespace thinwire::launch
