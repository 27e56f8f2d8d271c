#include "launch/command/open_model.h"

#include <filesystem>

#include "launch/compute_settings.h"
#include "launch/errors.h"

namespace thinwire::launch {

OpenModel open_model(const std::string& path, int threads) {
  if (!std::filesystem::exists(path)) throw UsageError(path + ": no such run, checkpoint or file");
  settle_threads(threads);
  trainer::LoadedModel loaded = trainer::load_model(path);
  if (loaded.tokenizer.empty()) throw std::runtime_error(path + ": has no tokenizer beside it");
  return {std::move(loaded.model), trainer::tokenizer_from_bytes(loaded.tokenizer)};
}

}  // namespace thinwire::launch
