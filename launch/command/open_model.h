// A model of ours opened for use, with its tokenizer.
#pragma once

#include <memory>
#include <string>

#include "trainer/data/tokenizer.h"
#include "trainer/model_file.h"

namespace thinwire::launch {

struct OpenModel {
  std::shared_ptr<trainer::LanguageModel> model;
  std::unique_ptr<trainer::Tokenizer> tokenizer;
};

// path: as trainer::load_model. Throws UsageError for a path that is not there, std::runtime_error for a
// model that cannot be opened or has no tokenizer beside it.
OpenModel open_model(const std::string& path, int threads);

}  // namespace thinwire::launch
