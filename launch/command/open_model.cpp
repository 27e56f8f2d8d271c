#include "launch/command/open_model.h"

#include <fmt/format.h>

#include <filesystem>

#include "launch/compute_settings.h"
#include "launch/errors.h"

namespace thinwire::launch {

OpenModel open_model(const std::string& path, int threads) {
  if (!std::filesystem::exists(path)) throw UsageError(path + ": no such run, checkpoint or file");
  settle_threads(threads);
  trainer::LoadedModel loaded = trainer::load_model(path);
  if (loaded.tokenizer.empty()) throw std::runtime_error(path + ": has no tokenizer beside it");
  OpenModel open{.model = std::move(loaded.model),
                 .sizes = std::move(loaded.options.model),
                 .tokenizer = trainer::tokenizer_from_bytes(loaded.tokenizer),
                 .step = loaded.step,
                 .corpus = std::move(loaded.corpus)};
  if (open.sizes.vocab < open.tokenizer->vocab_size()) {
    throw std::runtime_error(fmt::format(
        "{}: the model has {} tokens, the tokenizer beside it {}; expected the tokenizer that the model "
        "was trained with",
        path, open.sizes.vocab, open.tokenizer->vocab_size()));
  }
  if (open.step) fmt::print(stderr, "model: step {} of {}\n", *open.step, path);
  return open;
}

nlohmann::json step_of(const OpenModel& open) {
  return open.step ? nlohmann::json(*open.step) : nlohmann::json(nullptr);
}

}  // namespace thinwire::launch
